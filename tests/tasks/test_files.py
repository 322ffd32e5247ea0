"""Looking at files."""

import pytest

from ray_musicssl.tasks.files import NamedFiles, paths_like


@pytest.fixture
def write(tmp_path):
    def write_names(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return write_names


def test_of_several_names_the_first_is_taken_in_whichever_folder_and_of_one_name_the_first_folders(tmp_path, write):
    write("a/high", "b/high", "b/low")
    files = NamedFiles([tmp_path / "none", tmp_path / "a", tmp_path / "b"])
    assert files.first(["low", "high"]) == tmp_path / "b/low"
    assert files.first(["other", "high"]) == tmp_path / "a/high"
    assert files.first([str(tmp_path / "b/high")]) == tmp_path / "b/high"
    assert files.first(["other"]) is None


def test_what_is_no_file_is_passed_over(tmp_path, write):
    write("a/x.wav", "a/y.mp3/z", "file")
    (tmp_path / "a/x.mp3").symlink_to(tmp_path / "a/not fetched")
    files = NamedFiles([tmp_path / "file", tmp_path / "a"])
    assert files.first(["x.mp3", "x.wav"]) == tmp_path / "a/x.wav"
    assert files.first(["y.mp3"]) is None


def test_names_differ_by_more_than_the_case_of_their_suffix(tmp_path, write):
    write("sub/a.b.WAV", "sub/A.b.wav", "sub/C.wav", "sub/C.WAV", "sub/Noise")
    files = NamedFiles([tmp_path])
    assert files.first(["sub/a.b.wav"]) == files.first(["sub/a.b.WAV"]) == tmp_path / "sub/a.b.WAV"
    assert files.first(["sub/c.wav", "sub/a.B.wav", "sub/noise"]) is None
    assert files.first(["sub/C.wav"]) == tmp_path / "sub/C.wav"
    assert files.first(["sub/Noise"]) == tmp_path / "sub/Noise"


def test_names_of_a_pattern_are_sorted_and_hidden_ones_and_what_lies_below_are_none(tmp_path, write):
    write("b.KEY", "a.key", "._a.key", ".key", "c.keys", "sub/d.key")
    assert paths_like(tmp_path, "*.key") == [tmp_path / "a.key", tmp_path / "b.KEY"]
    assert paths_like(tmp_path / "none", "*.key") == []
    assert paths_like(tmp_path / "a.key", "*") == []
