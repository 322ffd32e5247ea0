"""What two splits may not share."""

import errno
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.tasks import leakage
from ray_musicssl.tasks.base import SPLITS, Example
from ray_musicssl.tasks.leakage import Apart, refuse_leaks, same_audio


def example(track, split, *, path="x.wav", group=""):
    return Example(id=track, track=track, path=Path(path), split=split, target=0, group=group)


def refuse(examples, apart=None, *, has_audio=False):
    refuse_leaks("Any", examples, apart=apart, has_audio=has_audio)


ARTISTS = Apart(noun="artist", pairs=[("train", "valid")])


def test_a_track_in_two_splits_is_refused():
    fine = [example("a", "train"), example("a", "train"), example("b", "valid"), example("c", "test")]
    refuse(fine)
    with pytest.raises(DataError, match=r'Any: track "b" is in valid and in test, and no other; .*fetch the official'):
        refuse([*fine, example("b", "test")])


def test_a_group_is_refused_only_in_splits_that_promise_to_be_apart():
    fine = [example("a", "train", group="Ann"), example("b", "valid", group="Bob"), example("c", "test", group="Ann")]
    refuse(fine, ARTISTS)
    with pytest.raises(DataError, match=r'artist "Ann" is in train and in valid \(in "a" and "d"\)'):
        refuse([*fine, example("d", "valid", group="Ann")], ARTISTS)
    refuse([*fine, example("d", "valid", group="Ann")], None)


def test_one_of_several_artists_is_enough():
    with pytest.raises(DataError, match='artist "Bob"'):
        refuse([example("a", "train", group="Ann | Bob"), example("b", "valid", group="Bob | Cy")], ARTISTS)


def test_no_group_is_shared_by_those_without_one():
    refuse([example("a", "train"), example("b", "valid")], ARTISTS)


@pytest.fixture
def files(tmp_path):
    """Nine files in three splits; all but one of a size, those of `near` equal but for their last byte."""
    rng = np.random.default_rng(0)
    contents = {name: rng.bytes(20_000) for name in "abcdef"}
    contents["near1"] = contents["near2"] = rng.bytes(19_999)
    contents["near1"], contents["near2"] = contents["near1"] + b"1", contents["near2"] + b"2"
    contents["small"] = rng.bytes(100)
    found = []
    for index, (name, content) in enumerate(contents.items()):
        path = tmp_path / SPLITS[index % 3] / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        found.append((path, SPLITS[index % 3]))
    return found


def test_files_of_one_content_are_found_whatever_their_names(files):
    assert same_audio(files) == []
    copy = files[0][0].parent.parent / "test" / "copy.wav"
    shutil.copy(files[0][0], copy)
    assert same_audio([*files, (copy, "test")]) == [((copy, "test"), files[0])]
    assert same_audio([*files, (copy, files[0][1])]) == []  # twice in one split is no leak


def test_the_same_file_in_two_splits_is_found(files):
    path, split = files[0]
    other = next(name for name in SPLITS if name != split)
    assert len(same_audio([*files, (path, other)])) == 1


@pytest.mark.parametrize("seed", range(5))
def test_found_files_are_those_a_comparison_of_all_pairs_finds(tmp_path, seed):
    rng = np.random.default_rng(seed)
    files = []
    for k in range(30):
        path = tmp_path / f"{k}"
        path.write_bytes(bytes([int(rng.integers(3))]) * int(rng.integers(1, 4)))
        files.append((path, SPLITS[int(rng.integers(3))]))
    leaking = {
        a[0].read_bytes() for a, b in combinations(files, 2) if a[1] != b[1] and a[0].read_bytes() == b[0].read_bytes()
    }
    found = same_audio(files)
    assert sorted(a.read_bytes() for (a, _), _ in found) == sorted(leaking)
    assert all(a.read_bytes() == b.read_bytes() and left != right for (a, left), (b, right) in found)


def test_only_files_that_sizes_and_pieces_leave_alike_are_read_whole(files, monkeypatch):
    read: list[str] = []
    whole = leakage._whole_hash
    monkeypatch.setattr(leakage, "_whole_hash", lambda path: read.append(path.stem) or whole(path))
    same_audio(files)
    assert sorted(read) == ["near1", "near2"]


def test_the_same_audio_is_refused_with_both_files_and_the_remedy(tmp_path, write_audio):
    first = write_audio(tmp_path / "a.wav")
    second = tmp_path / "b.wav"
    shutil.copy(first, second)
    examples = [example("a", "train", path=first), example("b", "test", path=second)]
    refuse(examples)  # the audio is not to be looked at
    with pytest.raises(DataError, match=r"a\.wav \(train\) and .*b\.wav \(test\) are the same audio.*remove one of"):
        refuse(examples, has_audio=True)


def test_the_same_audio_in_published_splits_is_noted_with_how_often(tmp_path, write_audio):
    examples = []
    for number, (split, twin) in enumerate((("train", "test"), ("train", "valid"), ("valid", "test"))):
        path = write_audio(tmp_path / f"{number}.wav")
        copy = shutil.copy(path, tmp_path / f"{number}-twin.wav")
        examples += [example(path.stem, split, path=path), example(copy.stem, twin, path=copy)]
    notes = refuse_leaks("Any", examples, apart=None, is_published=True)
    assert len(notes) == 1
    assert "(3 in all, such as 0-twin.wav in test and 0.wav in train)" in notes[0]
    assert refuse_leaks("Any", examples[::2], apart=None, is_published=True) == []


def test_tracks_and_groups_in_two_published_splits_are_refused_all_the_same():
    for examples in (
        [example("a", "train"), example("a", "test")],
        [example("a", "train", group="Ann"), example("b", "valid", group="Ann")],
    ):
        with pytest.raises(DataError, match="is in train and in"):
            refuse_leaks("Any", examples, apart=ARTISTS, has_audio=False, is_published=True)


def test_equal_files_that_cannot_be_decoded_are_no_silence(tmp_path):
    first, second = tmp_path / "a.flac", tmp_path / "b.flac"
    soundfile.write(first, np.random.default_rng(0).uniform(-0.1, 0.1, 40_000), 8000)
    content = first.read_bytes()
    for path in (first, second):
        path.write_bytes(content[:2000] + bytes(len(content) - 2000))
    assert soundfile.info(first).frames == 40_000
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(first)
    with pytest.raises(DataError, match=r"are the same audio"):
        refuse([example("a", "train", path=first), example("b", "test", path=second)], has_audio=True)


def test_silent_files_may_be_alike(tmp_path):
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(8000), 8000)
    refuse(
        [example("a", "train", path=tmp_path / "a.wav"), example("b", "test", path=tmp_path / "b.wav")], has_audio=True
    )


@pytest.mark.parametrize("function", ["stat", "open"])
def test_a_file_that_cannot_be_compared_is_named_with_a_remedy(files, monkeypatch, function):
    for path, _ in files:
        path.write_bytes(b"alike")

    def fail(path, *_, **__):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, function, fail)
    with pytest.raises(
        EnvironmentFaultError, match=r"\.wav .*cannot be read now .*Input/output error.*same command again"
    ):
        same_audio(files)


def test_files_that_the_system_does_not_open_again_are_neither_silent_nor_not(tmp_path, write_audio, monkeypatch):
    first = write_audio(tmp_path / "a.wav")
    second = Path(shutil.copy(first, tmp_path / "b.wav"))

    def fail(path):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile, "SoundFile", fail)
    with pytest.raises(EnvironmentFaultError, match=r"a\.wav cannot be read now \(.*System error"):
        refuse([example("a", "train", path=first), example("b", "test", path=second)], has_audio=True)
