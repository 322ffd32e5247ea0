from functools import partial
from operator import add

import numpy as np
import pytest
import ray

from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.sums import ClusterSums, Farthest, partial_sums
from ray_musicssl.clustering.tree import add_along_tree
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray import blocks as blocks_module
from ray_musicssl.on_ray.block_frames import Block, Recipe
from ray_musicssl.on_ray.blocks import Blocks, farthest_of, sums_of
from ray_musicssl.on_ray.room import TaskRoom

SIZES = [700, 1, 530, 1200, 512, 90, 777, 640, 31, 400, 256]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Eleven blocks on disk, and their frames; slabs of 512 rows, so that most blocks have two."""
    monkeypatch.setattr("ray_musicssl.clustering.block_files.SLAB_BYTES", 1)
    rng = np.random.default_rng(0)
    # Of all sizes: float64 sums of frames that are alike are exact, and would hide a wrong order.
    frames = (rng.normal(size=(sum(SIZES), 5)) * 10 ** rng.uniform(-9, 9, size=(sum(SIZES), 1))).astype(np.float32)
    files = BlockFiles(directory=tmp_path / "frames", dim=5)
    blocks = []
    for number, chunk in enumerate(np.split(frames, np.cumsum(SIZES)[:-1])):
        files.write(number, [chunk])
        # What makes frames is never asked for them: they are on disk.
        recipe = Recipe.__new__(Recipe)
        blocks.append(Block(number=number, num_frames=len(chunk), files=files, recipe=recipe))
    return blocks, frames


def bits(result):
    return [np.asarray(value).tobytes() for _, value in sorted(vars(result).items())]


def expected_of(blocks, centroids):
    """What one process adds up block by block, along the tree."""
    sums = add_along_tree([sums_of(block, centroids) for block in blocks], ClusterSums.__add__)
    far = [farthest_of(block, centroids, count=40) for block in blocks]
    return sums, add_along_tree(far, partial(Farthest.merged, count=40))


def test_a_block_s_sums_are_those_of_its_slabs_in_their_order(stored):
    blocks, frames = stored
    whole, centroids = frames[701 + 530 :][:1200], frames[:7]
    slabs = [partial_sums(whole[start : start + 512], centroids) for start in (0, 512, 1024)]
    total = slabs[0] + slabs[1] + slabs[2]
    assert bits(sums_of(blocks[3], centroids)) == bits(total)


def test_the_farthest_frames_of_a_block_are_known_by_their_rows_in_it(stored):
    blocks, frames = stored
    own = frames[701 + 530 :][:1200]
    found = farthest_of(blocks[3], frames[:7], count=30)
    np.testing.assert_array_equal(own[found.rows], found.frames)
    assert found.rows.max() >= 512
    assert (found.blocks == 3).all()


def test_the_kernels_are_told_the_device(stored, monkeypatch):
    blocks, frames = stored
    told = []

    def record(rows, centroids, **words):
        told.append(words)
        return partial_sums(rows, centroids)

    monkeypatch.setattr(blocks_module, "partial_sums", record)
    sums_of(blocks[1], frames[:3])
    sums_of(blocks[1], frames[:3], device="cuda")
    assert told == [{"device": "cpu"}, {"device": "cuda"}]


class Backwards(Blocks):
    """Its tasks are submitted last first."""

    def _start_groups(self, function, *arguments):
        return [self.start(function, group, *arguments) for group in self._groups[::-1]][::-1]


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_passes_give_the_bits_of_one_process_for_any_number_of_workers_and_any_order(stored, monkeypatch):
    monkeypatch.undo()  # workers have slabs of the usual size
    blocks, frames = stored
    centroids = frames[::97][:40].copy()
    expected_sums, expected_far = expected_of(blocks, centroids)
    wrong_order = add_along_tree([sums_of(block, centroids) for block in blocks[::-1]], add)
    assert bits(wrong_order) != bits(expected_sums), "these frames cannot tell one order from another"
    num_groups = []
    for num_workers in (1, 2, 4, 7):
        room = TaskRoom(num_cpus=2 / num_workers)
        assert room.num_slots == num_workers
        for kind in (Blocks, Backwards):
            passes = kind(blocks, room)
            num_groups.append(len(passes._groups))
            assert bits(passes.sums(centroids)) == bits(expected_sums)
            assert bits(passes.farthest(centroids, 40)) == bits(expected_far)
    assert sorted(set(num_groups)) == [2, 6, 11]
    rows = np.sort(np.random.default_rng(0).choice(sum(SIZES), 300, replace=False))
    np.testing.assert_array_equal(passes.rows(rows), frames[rows])

    blocks[4].files.path(4).write_bytes(b"torn")
    with pytest.raises(DataError, match=r"block-00000004\.f32 does not hold the 512 frames") as raised:
        passes.sums(centroids)
    assert not isinstance(raised.value, ray.exceptions.RayError)
