import contextlib
import hashlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from ray.exceptions import WorkerCrashedError

from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.ledger import read_ledger
from ray_musicssl.audio.parts import plan_parts
from ray_musicssl.audio.shard import open_shards, read_row_group
from ray_musicssl.audio.sources import list_files
from ray_musicssl.audio.writer import write_part
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import DataError, EnvironmentFaultError, ResumeRefusedError
from ray_musicssl.on_ray import prepare as stage
from ray_musicssl.on_ray.prepare import prepare

CONFIG = PrepareConfig(clip_s=1, min_clip_s=0.5, clips_per_row_group=2)


def make_collection(root: Path, num_files: int = 20) -> Path:
    """Short files in several formats."""
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(num_files):
        extension, rate = (("wav", 16_000), ("flac", 22_050), ("ogg", 44_100), ("mp3", 16_000))[number % 4]
        sf.write(root / f"{number:02d}.{extension}", rng.uniform(-0.3, 0.3, int(rate * (1 + 0.1 * number))), rate)
    return root


def content_of(out: Path, pattern: str = "*") -> dict[str, str]:
    files = [path for path in out.glob(pattern) if path.is_file() and not path.name.startswith(".lock")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_in_process(function: Callable, items: Sequence, **_: object) -> Iterator[tuple[int, Any]]:
    """Stands in for Ray tasks; the last one ends first."""
    for index in reversed(range(len(items))):
        yield index, function(items[index])


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(stage, "session", contextlib.nullcontext)
    monkeypatch.setattr(stage, "run_tasks", run_in_process)
    monkeypatch.setattr(stage, "_in_flight", lambda: 100)


@pytest.fixture
def music(tmp_path) -> Path:
    return make_collection(tmp_path / "music")


@pytest.mark.usefixtures("without_ray")
class TestInProcess:
    def test_every_clip_of_the_manifest_is_where_it_says(self, music, tmp_path):
        shards = prepare(str(music), tmp_path / "out", CONFIG)
        rows = shards.manifest().to_pylist()
        assert len(rows) == shards.num_clips == len({row["clip_id"] for row in rows})
        assert sum(row["num_samples"] for row in rows) == 16_000 * shards.seconds
        for row in rows:
            group = read_row_group(shards.part_path(row["part"]), row["row_group"])
            assert group["clip_id"][row["row"]].as_py() == row["clip_id"]
        assert open_shards(tmp_path / "out") == shards

    def test_the_ledger_has_a_row_for_every_file_in_order(self, music, tmp_path):
        (music / "05-copy.flac").write_bytes((music / "05.flac").read_bytes())
        (music / "99.mp3").write_text("no music at all" * 99)
        prepare(str(music), tmp_path / "out", CONFIG)
        rows = read_ledger(tmp_path / "out" / "ledger.parquet")
        assert [row.path for row in rows] == sorted(path.name for path in music.iterdir())
        reasons = {row.path: row.reason for row in rows}
        assert "same audio as: 05-copy.flac" in reasons["05.flac"]
        assert reasons["99.mp3"].startswith("not decodable")

    def test_a_finished_stage_is_left_alone(self, music, tmp_path, monkeypatch):
        shards = prepare(str(music), tmp_path / "out", CONFIG)
        times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.*")}
        monkeypatch.setattr(stage, "run_tasks", lambda *_: pytest.fail("worked again"))
        assert prepare(str(music), tmp_path / "out", CONFIG) == shards
        assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.*")} == times

    def test_a_killed_run_goes_on_and_gives_the_same_bytes(self, music, tmp_path, monkeypatch):
        out = tmp_path / "out"
        prepare(str(music), out, CONFIG)
        whole = content_of(out)
        for name in (
            "done-prepare.json",
            "manifest.parquet",
            "part-00003.json",
            "part-00007.json",
            "part-00007.parquet",
        ):
            (out / name).unlink()
        (out / "part-00009.parquet").write_bytes(b"torn")
        (out / ".part-00007.parquet.0123abcd.tmp").write_bytes(b"half")
        written = []

        def noting(function, items):
            written.extend(part.number for part in items)
            return run_in_process(function, items)

        monkeypatch.setattr(stage, "run_tasks", noting)
        prepare(str(music), out, CONFIG)
        assert written == [3, 7, 9]
        assert content_of(out) == whole

    def test_what_killed_workers_left_half_written_goes(self, music, tmp_path, monkeypatch):
        def leaving(function, items):
            for number in range(3):  # of a worker that was killed while others went on
                (tmp_path / "out" / f".part-00001.json.0123abc{number}.tmp").write_bytes(b"half")
            return run_in_process(function, items)

        monkeypatch.setattr(stage, "run_tasks", leaving)
        prepare(str(music), tmp_path / "out", CONFIG)
        assert not list((tmp_path / "out").glob(".*.tmp"))

    def test_missing_audio_is_refused_before_ray_starts(self, tmp_path, monkeypatch):
        monkeypatch.setattr(stage, "session", lambda: pytest.fail("started Ray"))
        with pytest.raises(DataError, match=r"there is no .*nowhere"):
            prepare(str(tmp_path / "nowhere"), tmp_path / "out", CONFIG)

    def test_other_input_or_settings_are_refused_and_named(self, music, tmp_path):
        prepare(str(music), tmp_path / "out", CONFIG)
        with pytest.raises(ResumeRefusedError, match=r"min_clip_s 0\.5 -> 0\.25"):
            prepare(str(music), tmp_path / "out", PrepareConfig(clip_s=1, min_clip_s=0.25, clips_per_row_group=2))
        (music / "00.wav").unlink()
        with pytest.raises(ResumeRefusedError, match=r"gone: 00\.wav.*--fresh"):
            prepare(str(music), tmp_path / "out", CONFIG)

    def test_fresh_removes_what_the_stage_wrote_and_nothing_else(self, music, tmp_path):
        out = tmp_path / "out"
        prepare(str(music), out, CONFIG)
        (out / "labels").mkdir()
        for name in ("labels/part-00000.parquet", "notes.txt", "part-99999.parquet"):
            (out / name).write_text("mine")
        for path in sorted(music.iterdir())[5:]:
            path.unlink()
        again = prepare(str(music), out, CONFIG, fresh=True)
        assert again == replace(prepare(str(music), tmp_path / "new", CONFIG), path=out)
        assert all(
            (out / name).read_text() == "mine"
            for name in ("labels/part-00000.parquet", "notes.txt", "part-99999.parquet")
        )
        assert set(content_of(out)) == set(content_of(tmp_path / "new")) | {"notes.txt", "part-99999.parquet"}

    def test_moving_the_collection_changes_no_byte(self, music, tmp_path):
        prepare(str(music), tmp_path / "one", CONFIG)
        music.rename(tmp_path / "moved")
        prepare(str(tmp_path / "moved"), tmp_path / "two", CONFIG)
        assert content_of(tmp_path / "one") == content_of(tmp_path / "two")

    def test_too_many_bad_files_fail_after_everything_is_written(self, music, tmp_path):
        out = tmp_path / "out"
        for number in range(3):
            (music / f"bad{number}.wav").write_bytes(b"" if number else b"words" * 99)
        with pytest.raises(DataError) as raised:
            prepare(str(music), out, CONFIG)
        for text in (
            "3 of 23 files",
            "2 empty file, 1 not decodable",
            str(out / "ledger.parquet"),
        ):
            assert text in str(raised.value)
        with pytest.raises(DataError, match="3 of 23"):
            prepare(str(music), out, CONFIG, max_bad_fraction=0.1)
        advised = re.search(r"--max-bad-fraction (\S+)", str(raised.value))
        assert advised is not None
        assert prepare(str(music), out, CONFIG, max_bad_fraction=float(advised[1])).num_clips > 0

    def test_no_clip_at_all_is_a_data_error(self, tmp_path):
        (tmp_path / "music").mkdir()
        (tmp_path / "music" / "a.wav").write_bytes(b"")
        with pytest.raises(DataError, match=r"no clip came of 1 files \(1 empty file\)"):
            prepare(str(tmp_path / "music"), tmp_path / "out", CONFIG, max_bad_fraction=1)
        assert (tmp_path / "out" / "ledger.parquet").exists()
        with pytest.raises(DataError, match="no finished shards"):
            open_shards(tmp_path / "out")

    def test_a_wrong_path_leaves_no_directory(self, tmp_path):
        with pytest.raises(DataError, match="there is no"):
            prepare(str(tmp_path / "nowhere"), tmp_path / "out", CONFIG)
        assert not (tmp_path / "out").exists()


def dying(is_deadly: Callable[[Any], bool]) -> Callable:
    """Stands in for Ray tasks of which some take their worker with them."""

    def run(function: Callable, items: Sequence, **_: object) -> Iterator[tuple[int, Any]]:
        for index, item in enumerate(items):
            if is_deadly(item):
                raise WorkerCrashedError
            yield index, function(item)

    return run


def names_of(item: Any) -> list[str]:
    return [file.path for file in getattr(item, "files", (item,)) if not file.problem]


@pytest.mark.usefixtures("without_ray")
def test_deadly_files_are_found_and_left_out(music, tmp_path, monkeypatch):
    deadly = {"03.mp3", "04.wav", "17.flac"}
    monkeypatch.setattr(stage, "run_tasks", dying(lambda item: bool(deadly & set(names_of(item)))))
    monkeypatch.setattr(stage, "_in_flight", lambda: 4)
    prepare(str(music), tmp_path / "out", CONFIG, max_bad_fraction=0.5)
    rows = read_ledger(tmp_path / "out" / "ledger.parquet")
    assert {row.path for row in rows if row.reason == "decoder crashed"} == deadly
    assert sum(row.status == "rejected" for row in rows) == 3


@pytest.mark.usefixtures("without_ray")
def test_a_failing_machine_is_not_blamed_on_files(music, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "run_tasks", dying(lambda item: len(getattr(item, "files", ())) > 0))
    monkeypatch.setattr(stage, "_in_flight", lambda: 4)
    with pytest.raises(EnvironmentFaultError, match="short of memory or failing"):
        prepare(str(music), tmp_path / "out", CONFIG)


@pytest.mark.ray
def test_ray_workers_write_the_bytes_that_one_process_writes(cluster, music, tmp_path, monkeypatch):
    out = tmp_path / "two"
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)  # the workers stay where the cluster was started
        shards = prepare("music", Path("two"), CONFIG)
    plan = plan_parts(list_files(str(music)), CONFIG)
    for part in plan.parts:
        write_part(part, CONFIG, tmp_path / "one", decode_file)
    assert len(plan.parts) >= 16
    assert content_of(tmp_path / "one", "part-*") == content_of(out, "part-*")
    assert shards.num_clips == len(shards.manifest())


@pytest.mark.ray
def test_a_decoder_that_kills_its_worker_costs_one_file(cluster, tmp_path):
    music = make_collection(tmp_path / "music", num_files=3)

    def deadly(file, config, keep):
        if file.path == "01.flac":
            os.kill(os.getpid(), signal.SIGKILL)
        return decode_file(file, config, keep)

    prepare(str(music), tmp_path / "out", CONFIG, max_bad_fraction=0.5, decode=deadly)
    rows = read_ledger(tmp_path / "out" / "ledger.parquet")
    assert [(row.path, row.status, row.reason) for row in rows if row.status == "rejected"] == [
        ("01.flac", "rejected", "decoder crashed")
    ]
