import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.clustering.block_files import SLAB_BYTES, BlockFiles, regrouped, slab_rows
from ray_musicssl.errors import DataError


def frames_of(num_frames, dim=3):
    return np.random.default_rng(0).normal(size=(num_frames, dim)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    return BlockFiles(directory=tmp_path / "frames", dim=3)


@given(lengths=st.lists(st.integers(0, 30), max_size=8), num_rows=st.integers(1, 20))
def test_slabs_are_the_chunks_in_other_lengths(lengths, num_rows):
    whole = frames_of(sum(lengths))
    chunks = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    slabs = [slab.copy() for slab in regrouped(chunks, num_rows, 3)]
    assert all(len(slab) == num_rows for slab in slabs[:-1])
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 3), np.float32), *slabs]), whole)


@pytest.mark.parametrize("num_rows", [1, 7, 100, 1000])
def test_what_is_read_is_what_was_written_in_the_same_slabs(files, num_rows):
    whole = frames_of(100)
    files.write(5, np.split(whole, [13, 13, 60]))
    read = [slab.copy() for slab in files.slabs(5, 100, num_rows)]
    made = [slab.copy() for slab in regrouped([whole], num_rows, 3)]
    assert [slab.tobytes() for slab in read] == [slab.tobytes() for slab in made]
    np.testing.assert_array_equal(files.rows(5, 100, np.array([0, 13, 99])), whole[[0, 13, 99]])


def test_a_slab_is_read_into_the_memory_of_the_one_before(files):
    files.write(0, [frames_of(20)])
    slabs = files.slabs(0, 20, 10)
    first = next(slabs)
    assert np.shares_memory(first, next(slabs))


def test_a_file_with_other_frames_is_refused(files):
    files.write(0, [frames_of(20)])
    assert files.has(0, 20)
    assert not files.has(0, 21)
    assert not files.has(1, 20)
    with pytest.raises(DataError, match=r"block-00000000\.f32 does not hold the 21 frames of 3 values"):
        next(files.slabs(0, 21, 10))


def test_a_file_that_ends_while_it_is_read_is_an_error(files):
    files.write(0, [frames_of(20)])
    slabs = files.slabs(0, 20, 10)
    next(slabs)
    os.truncate(files.path(0), 12 * 15)
    with pytest.raises(DataError, match=r"block-00000000\.f32 ended while it was read"):
        next(slabs)


def test_a_block_that_cannot_be_made_whole_leaves_no_file(files):
    def broken():
        yield frames_of(20)
        raise DataError("torn")

    with pytest.raises(DataError, match="torn"):
        files.write(0, broken())
    assert list(files.directory.iterdir()) == []


def test_a_slab_is_small_beside_a_large_codebook_s_sums_and_never_smaller_than_its_clusters():
    assert slab_rows(500, 39) * 39 * 4 == pytest.approx(SLAB_BYTES, rel=0.01)
    assert slab_rows(100_000, 768) >= 100_000
