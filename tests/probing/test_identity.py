"""What audio is known by: bytes, wherever they lie and whatever they are called."""

import os
import shutil

import numpy as np
import pytest

from ray_musicssl.probing import identity
from ray_musicssl.probing.identity import PIECE_BYTES, WHOLE_BYTES, audio_identity, file_hash
from ray_musicssl.tasks.base import Example


@pytest.fixture
def audio_dir(tmp_path):
    """A short file and a long one."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, size in (("short.wav", 1000), ("long.wav", WHOLE_BYTES + 50_000)):
        (folder / name).write_bytes(np.random.default_rng(size).bytes(size))
    return folder


def examples_of(folder, **bounds):
    return [
        Example(id=path.stem, track="t", path=path, split="train", target=0, **bounds)
        for path in sorted(folder.iterdir())
    ]


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_folder_that_was_copied_or_moved_keeps_its_identity_and_other_bounds_do_not(audio_dir, tmp_path):
    memory_path = tmp_path / "memory.json"
    before = audio_identity(examples_of(audio_dir), memory_path)
    copied = shutil.copytree(audio_dir, tmp_path / "elsewhere", copy_function=shutil.copyfile)  # with new times
    os.utime(copied / "long.wav", ns=(1, 1))
    assert audio_identity(examples_of(copied), memory_path) == before
    assert audio_identity(examples_of(audio_dir, offset_s=1.0), memory_path) != before


@pytest.mark.parametrize("place", [0, PIECE_BYTES - 1, (WHOLE_BYTES + 50_000) // 2, -1])
def test_a_bit_in_any_of_the_three_pieces_of_a_long_file_counts(audio_dir, place):
    path = audio_dir / "long.wav"
    size = path.stat().st_size
    before = file_hash(path, size)
    flip(path, place)
    assert file_hash(path, size) != before


def test_every_byte_of_a_short_file_counts_and_so_does_its_length(audio_dir):
    path = audio_dir / "short.wav"
    before = file_hash(path, 1000)
    flip(path, 333)
    assert file_hash(path, 1000) != before
    assert file_hash(path, 1001) != file_hash(path, 1000)


def test_a_file_is_read_once_and_again_when_it_changes(audio_dir, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(identity, "file_hash", lambda path, size: read.append(path.name) or file_hash(path, size))
    memory_path = tmp_path / "memory.json"
    before = audio_identity(examples_of(audio_dir), memory_path)
    assert audio_identity(examples_of(audio_dir), memory_path) == before
    assert sorted(read) == ["long.wav", "short.wav"]
    flip(audio_dir / "short.wav", 5)
    os.utime(audio_dir / "short.wav", ns=(1, 1))
    assert audio_identity(examples_of(audio_dir), memory_path) != before
    assert read[2:] == ["short.wav"]


def test_a_damaged_memory_is_made_again(audio_dir, tmp_path):
    memory_path = tmp_path / "memory.json"
    before = audio_identity(examples_of(audio_dir), memory_path)
    memory_path.write_text("{")
    assert audio_identity(examples_of(audio_dir), memory_path) == before
