import os
import socket
import unicodedata
from pathlib import Path

import pytest

from ray_musicssl.audio.sources import list_files
from ray_musicssl.errors import DataError


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def paths(audio: object) -> list[str]:
    return [file.path for file in list_files(str(audio))]


def problems(audio: object) -> dict[str, str]:
    return {file.path: file.problem for file in list_files(str(audio))}


def test_a_folder_gives_its_audio_files_sorted_and_nothing_else(tmp_path):
    make(tmp_path, "b.wav", "a/z.FLAC", "a/cover.jpg", "notes.txt", "a.mp3", "wav", "x.wav/inside.ogg")
    assert paths(tmp_path) == ["a.mp3", "a/z.FLAC", "b.wav", "x.wav/inside.ogg"]


def test_audio_that_cannot_be_decoded_is_a_row_with_the_reason(tmp_path):
    make(tmp_path, "a.wav", "b.M4A", "deep/c.wma")
    expected = {"a.wav": "", "b.M4A": "unsupported format: m4a", "deep/c.wma": "unsupported format: wma"}
    assert problems(tmp_path) == problems(tmp_path / "**" / "*") == problems(f"file://{tmp_path}") == expected


def test_what_a_mac_writes_beside_a_file_is_not_audio(tmp_path):
    make(tmp_path, "a.wav", "._a.wav", "deep/._b.m4a")
    assert paths(tmp_path) == paths(tmp_path / "**" / "*") == paths(f"file://{tmp_path}") == ["a.wav"]


def test_track_ids_survive_moving_the_folder(tmp_path):
    make(tmp_path, "one/a/b.wav")
    before = list_files(str(tmp_path / "one"))[0]
    (tmp_path / "one").rename(tmp_path / "two")
    after = list_files(str(tmp_path / "two"))[0]
    assert before.track_id == after.track_id
    assert before.location != after.location


@pytest.mark.parametrize("audio", ["music", "music/*/*.wav", "music/a/b.wav", "music/list.csv"])
def test_files_are_found_again_from_another_working_directory(tmp_path, monkeypatch, audio):
    make(tmp_path, "music/a/b.wav")
    (tmp_path / "music/list.csv").write_text("path\na/b.wav\n")
    monkeypatch.chdir(tmp_path)
    (file,) = list_files(audio)
    monkeypatch.chdir("/")
    assert Path(file.location).read_bytes() == b"x"
    assert not Path(file.path).is_absolute()


def test_a_symlink_loop_is_one_row_and_a_good_link_is_followed(tmp_path):
    make(tmp_path, "music/a/one.wav", "elsewhere/two.wav")
    (tmp_path / "music/a/back").symlink_to(tmp_path / "music")
    (tmp_path / "music/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music/self.wav").symlink_to(tmp_path / "music/self.wav")
    assert problems(tmp_path / "music") == {
        "a/back": "symlink loop",
        "a/one.wav": "",
        "other/two.wav": "",
        "self.wav": "symlink loop",
    }


def test_what_is_no_regular_file_is_rejected_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.wav"))
        assert problems(tmp_path) == {
            "fifo.wav": "not a regular file: a FIFO",
            "gone.wav": "missing",
            "s.wav": "not a regular file: a socket",
            "zero.wav": "not a regular file: a device",
        }


def test_odd_names_are_told_apart_and_shown_on_one_line(tmp_path):
    composed = unicodedata.normalize("NFC", "é.wav")
    names = [
        "new\nline.wav",
        "new\\nline.wav",
        "quote'\".wav",
        "-dash.wav",
        ";rm -rf %s.wav",
        "e\u202etxt.wav",
        "\U0001f3b5.wav",
        composed,
        unicodedata.normalize("NFD", "é.wav"),
        os.fsdecode(b"byte\xff.wav"),
        "x" * 251 + ".wav",
    ]
    make(tmp_path, *names)
    files = list_files(str(tmp_path))
    assert {file.path for file in files} == set(names)
    shown = {file.shown_path for file in files}
    assert len(shown) == len({file.track_id for file in files}) == len(names)
    assert all(text.encode() and "\n" not in text for text in shown)
    assert {"new\\nline.wav", "byte\\xff.wav", composed} <= shown


def test_a_glob_counts_paths_from_its_fixed_part(tmp_path):
    make(tmp_path, "rock/a.wav", "rock/deep/b.wav", "pop/c.wav", "pop/c.txt")
    assert paths(tmp_path / "*" / "*") == ["pop/c.wav", "rock/a.wav"]
    assert paths(tmp_path / "**" / "*.wav") == ["pop/c.wav", "rock/a.wav", "rock/deep/b.wav"]


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path):
    make(tmp_path, "[live]/a.wav")
    assert paths(tmp_path / "[live]") == ["a.wav"]


def test_a_single_file_is_a_collection_of_one(tmp_path):
    make(tmp_path, "a.wav", "b.wav")
    assert paths(tmp_path / "a.wav") == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", 'year,path\n1999,b.wav\n2000,"sub/a, 1.bin"\n2001,b.wav\n2002,lost.wav\n'),
        (
            "list.jsonl",
            '{"path": "b.wav"}\n\n{"path": "sub/a, 1.bin", "year": 1}\n{"path": "b.wav"}\n{"path": "lost.wav"}\n',
        ),
    ],
)
def test_a_manifest_gives_each_file_once_relative_to_itself(tmp_path, name, text):
    make(tmp_path, "b.wav", "sub/a, 1.bin", "unlisted.wav")
    (tmp_path / name).write_text(text)
    assert problems(tmp_path / name) == {"b.wav": "", "lost.wav": "missing", "sub/a, 1.bin": ""}


def test_a_manifest_may_name_files_elsewhere(tmp_path):
    make(tmp_path, "lists/a.wav", "far/b.wav")
    (tmp_path / "lists/l.csv").write_text(
        f"path\n{tmp_path}/far/b.wav\n{tmp_path}/lists/a.wav\nfile://{tmp_path}/far/b.wav\n"
    )
    assert problems(tmp_path / "lists/l.csv") == {
        f"{tmp_path}/far/b.wav": "",
        "a.wav": "",
        f"file://{tmp_path}/far/b.wav": "",
    }


def test_a_uri_lists_what_the_folder_lists(tmp_path):
    make(tmp_path, "music/b.wav", "music/a/z.flac", "music/cover.jpg")
    here, there = list_files(str(tmp_path / "music")), list_files(f"file://{tmp_path}/music")
    assert [(f.path, f.size_bytes, f.mtime_ns, f.track_id) for f in there] == [
        (f.path, f.size_bytes, f.mtime_ns, f.track_id) for f in here
    ]


def test_a_uri_may_be_a_manifest(tmp_path):
    make(tmp_path, "b.wav")
    (tmp_path / "l.csv").write_text("path\nb.wav\nlost.wav\n")
    assert problems(f"file://{tmp_path}/l.csv") == {"b.wav": "", "lost.wav": "missing"}


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        ("empty", "holds no audio file"),
        ("nowhere", "there is no"),
        ("nowhere/*.wav", "holds no audio file"),
        ("no_column.csv", "no column path"),
        ("broken.jsonl", "line 2 is not JSON"),
        ("no_key.jsonl", "line 1: path is None"),
    ],
)
def test_what_cannot_be_listed_is_named(tmp_path, audio, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_column.csv").write_text("file\na.wav\n")
    (tmp_path / "broken.jsonl").write_text('{"path": "a.wav"}\n{"path"\n')
    (tmp_path / "no_key.jsonl").write_text('{"file": "a.wav"}\n')
    with pytest.raises(DataError, match=said):
        list_files(str(tmp_path / audio))


@pytest.mark.parametrize("uri", ["ftp://host/music", "file:///nowhere/at/all"])
def test_a_uri_that_leads_nowhere_is_a_data_error(uri):
    with pytest.raises(DataError):
        list_files(uri)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_a_row(tmp_path):
    make(tmp_path, "shut/a.wav")
    (tmp_path / "shut").chmod(0)
    assert problems(tmp_path) == {"shut": "permission denied"}
