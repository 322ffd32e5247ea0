import json
import os
import subprocess
import sys
from collections import namedtuple

import pytest

from ray_musicssl import run_dir
from ray_musicssl.errors import EnvironmentFaultError, ResumeRefusedError
from ray_musicssl.run_dir import (
    RunDir,
    checkpoint_name,
    done_facts,
    done_with,
    hash_of,
    locked,
    mark_done,
    need_free_space,
    read_json,
    remove_temporaries,
    replacing,
    sha256_file,
    versions,
    write_json,
    write_text,
)

# Locks the directory named by its argument, says so, and holds it until its input ends.
HOLD = """
import sys
from pathlib import Path
from ray_musicssl.run_dir import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent  # a rename inside one file system is atomic
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_was_left_half_written_is_removed_and_nothing_else(tmp_path):
    kept = [".hidden.tmp", "a.0123abcd.tmp", ".a.0123abcd.txt", ".a.notahash.tmp", "deep/.a.0123abcd.tmp"]
    for name in (*kept, ".a.0123abcd.tmp", ".part-00000.parquet.ffffffff.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with replacing(tmp_path / "b.txt") as temporary:
        temporary.touch()
        remove_temporaries(tmp_path)
        assert not temporary.exists()  # its name is of the kind that is meant
        temporary.touch()
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {*kept, "b.txt"}


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    path, synced = tmp_path / "file.txt", []
    monkeypatch.setattr(run_dir.os, "fsync", lambda descriptor: synced.append(path.exists()))
    write_text(path, "text")
    assert synced == [False]


def test_json_is_written_the_same_for_any_order_of_keys(tmp_path):
    for name, value in (("a", {"x": 1, "y": [2, "ü"]}), ("b", {"y": [2, "ü"], "x": 1})):
        write_json(tmp_path / name, value)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == {"x": 1, "y": [2, "ü"]}


def test_the_hash_of_a_value_does_not_depend_on_the_order_of_its_keys():
    assert hash_of({"a": 1, "b": {"c": 2, "d": 3}}) == hash_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert hash_of([1, 2]) != hash_of([2, 1])
    # printf '{"a":1}' | sha256sum
    assert hash_of({"a": 1}) == "015abd7f5cc57a2d"


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # Source: FIPS 180-4's first example.
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_names_of_checkpoints_sort_by_step():
    steps = [9, 10, 400_000, 5]
    assert sorted(checkpoint_name(step) for step in steps) == [checkpoint_name(step) for step in sorted(steps)]
    assert checkpoint_name(10_000) == "step-00010000"


def test_a_run_s_files_all_lie_inside_it(tmp_path):
    run = RunDir(tmp_path)
    names = ("config_path", "checkpoints_dir", "tensorboard_dir", "metrics_path", "scores_dir", "report_path")
    paths = [getattr(run, name) for name in names]
    assert {path.parent for path in paths} == {tmp_path}
    assert len(set(paths)) == len(names)


def test_a_stage_that_has_not_ended_has_no_facts(tmp_path):
    assert done_facts(tmp_path, "label") is None
    assert done_with(tmp_path, "label", fingerprint="a", remedy="") is None


def test_a_marker_keeps_facts_fingerprint_and_versions(tmp_path):
    mark_done(tmp_path, "label", fingerprint="a", facts={"frames": 3})
    facts = done_with(tmp_path, "label", fingerprint="a", remedy="")
    assert facts == {"stage": "label", "fingerprint": "a", "versions": versions(), "frames": 3}
    assert done_facts(tmp_path, "kmeans") is None


def test_another_fingerprint_is_refused_with_both_named_and_the_remedy(tmp_path):
    mark_done(tmp_path, "label", fingerprint="aaa", facts={})
    with pytest.raises(ResumeRefusedError, match=r"`label` .*fingerprint aaa, now bbb\); choose another --out"):
        done_with(tmp_path, "label", fingerprint="bbb", remedy="choose another --out")


def test_a_package_that_is_missing_is_said_to_be_absent(monkeypatch):
    monkeypatch.setattr(run_dir, "_PACKAGES", ("numpy", "no-such-package-here"))
    assert versions()["no-such-package-here"] == "absent"
    assert versions()["numpy"][0].isdigit()


def test_a_held_directory_names_its_owner_and_is_free_afterwards(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(EnvironmentFaultError, match=f"is in use by process {holder.pid} on .*; wait for it"):
            locked(tmp_path).__enter__()
        holder.stdin.close()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-owner").read_text()


def test_a_lock_ends_with_a_holder_that_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        holder.kill()
    with locked(tmp_path):
        pass


def test_a_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="inside"), locked(tmp_path):
        raise RuntimeError("inside")
    with locked(tmp_path):
        pass
    assert not (tmp_path / ".lock-owner").exists()


def test_a_lock_makes_the_directory(tmp_path):
    with locked(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(EnvironmentFaultError, match=rf"{path} cannot be used as a directory .*choose another"):
            locked(path).__enter__()


def test_too_little_space_is_said_with_both_sizes(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(run_dir.shutil, "disk_usage", lambda path: usage(9e9, 8e9, 1_000_000_000))
    need_free_space(tmp_path / "not" / "there", 1_000_000_000)
    with pytest.raises(EnvironmentFaultError, match=r"needs 2.00 GB but the disk has 1.00 GB free"):
        need_free_space(tmp_path / "not" / "there", 2_000_000_000)


def test_written_json_is_json(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
