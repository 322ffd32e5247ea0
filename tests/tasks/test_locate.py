"""Finding a data set in a folder."""

import errno
import io
import os
from pathlib import Path

import pytest
import soundfile

from ray_musicssl.errors import DataError, EnvironmentFaultError, NotThereError
from ray_musicssl.tasks.locate import check_audio, find_all, find_one


@pytest.fixture
def locked_folders(monkeypatch):
    """Folders that the system refuses to list, for any user."""
    names = set()
    iterdir, access = Path.iterdir, os.access

    def refuse(path):
        if path.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in names and access(path, mode))
    return names


def test_a_folder_that_may_not_be_listed_is_passed_over(tmp_path, locked_folders):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "gtzan" / "genres").mkdir(parents=True)
    locked_folders.add("lost+found")
    assert find_one(tmp_path, "genres", what="audio") == tmp_path / "gtzan" / "genres"


def test_a_folder_that_was_not_looked_into_is_named_where_nothing_is_found(tmp_path, locked_folders):
    (tmp_path / "gtzan" / "genres").mkdir(parents=True)
    locked_folders.add("gtzan")
    with pytest.raises(NotThereError, match=r"no audio under .*not looked into, as .*: \S+/gtzan; give --data"):
        find_one(tmp_path, "wavs", what="audio")
    locked_folders.clear()
    with pytest.raises(NotThereError, match="no audio under") as raised:
        find_one(tmp_path, "wavs", what="audio")
    assert "not looked into" not in str(raised.value)


def test_a_data_folder_that_may_not_be_listed_is_named(tmp_path, locked_folders):
    (tmp_path / "data").mkdir()
    locked_folders.add("data")
    with pytest.raises(DataError, match=r"the data folder .*/data may not be listed"):
        find_all(tmp_path / "data", "genres")


def test_the_nearest_is_found_at_most_two_folders_below(tmp_path):
    for place in ("b/genres", "a/x/genres", "a/x/y/genres", ".hidden/genres"):
        (tmp_path / place).mkdir(parents=True)
    assert find_all(tmp_path, "genres") == [tmp_path / "b" / "genres", tmp_path / "a" / "x" / "genres"]


def test_a_hidden_file_is_none_of_those_looked_for(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("._a.wav", "b.wav"):
        (tmp_path / "set" / name).touch()
    assert find_all(tmp_path, "set/*.wav") == [tmp_path / "set/b.wav"]


def test_what_is_missing_beside_another_part_is_a_fault_that_names_the_part(tmp_path):
    with pytest.raises(NotThereError, match="no lists under"):
        find_one(tmp_path, "lists", what="lists", signs=["audio"])
    (tmp_path / "set/audio").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no lists under .*, though .*/set/audio is there; expected lists") as raised:
        find_one(tmp_path, "lists", what="lists", signs=["audio"])
    assert not isinstance(raised.value, NotThereError)


def test_a_file_that_may_not_be_opened_is_none_that_cannot_be_decoded(tmp_path, lock):
    path = tmp_path / "a.wav"
    path.write_bytes(b"no audio")
    lock(path)
    with pytest.raises(EnvironmentFaultError, match=r"a\.wav cannot be read now \(Permission denied\)"):
        check_audio(path)


def test_a_fault_that_has_passed_says_nothing_about_a_file_either(tmp_path, monkeypatch):
    def fail(path):
        raise soundfile.LibsndfileError(2)

    (tmp_path / "a.wav").write_bytes(b"audio, maybe")
    monkeypatch.setattr(soundfile, "info", fail)
    with pytest.raises(EnvironmentFaultError, match=r"a\.wav cannot be read now \(.*System error"):
        check_audio(tmp_path / "a.wav")


def test_a_header_that_the_disk_does_not_give_is_no_header_of_another_format(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(b"what libsndfile makes of a failed read: no format it knows")
    assert check_audio(path).fault == "undecodable"

    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(io, "open", fail)
    with pytest.raises(EnvironmentFaultError, match=r"a\.wav cannot be read now \(Input/output error\)"):
        check_audio(path)
