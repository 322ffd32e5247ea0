"""Finding a data set in a folder."""

import os
from pathlib import Path

import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.locate import find_all, find_one


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


def test_a_data_folder_that_may_not_be_listed_is_named(tmp_path, locked_folders):
    (tmp_path / "data").mkdir()
    locked_folders.add("data")
    with pytest.raises(DataError, match=r"the data folder .*/data may not be listed"):
        find_all(tmp_path / "data", "genres")


def test_the_nearest_is_found_at_most_two_folders_below(tmp_path):
    for place in ("b/genres", "a/x/genres", "a/x/y/genres", ".hidden/genres"):
        (tmp_path / place).mkdir(parents=True)
    assert find_all(tmp_path, "genres") == [tmp_path / "b" / "genres", tmp_path / "a" / "x" / "genres"]
