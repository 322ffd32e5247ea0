from dataclasses import replace
from functools import partial
from operator import add
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.pass_memory import PassMemory
from ray_musicssl.clustering.sums import ClusterSums, Farthest, partial_sums, sums_of_slabs
from ray_musicssl.clustering.tree import add_along_tree
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray import blocks as blocks_module
from ray_musicssl.on_ray import room as room_module
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

    def record(slabs, centroids, **words):
        told.append(words)
        return sums_of_slabs(slabs, centroids)

    monkeypatch.setattr(blocks_module, "sums_of_slabs", record)
    sums_of(blocks[1], frames[:3])
    sums_of(blocks[1], frames[:3], device="cuda")
    assert told == [{"device": "cpu"}, {"device": "cuda"}]


@pytest.fixture
def asked_with(monkeypatch, stored):
    """Starts each kind of task for so many clusters of 768 dimensions, on nodes of so much memory.

    Gives what each asked for, and the number of groups of blocks.
    """
    asked = {}

    def remote(function):
        def options(**words):
            asked[function.__name__] = words
            return SimpleNamespace(remote=lambda *_: None)

        return SimpleNamespace(options=options)

    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(ray, "remote", lambda **_: remote)
    monkeypatch.setattr(blocks_module, "result_of", lambda value: value)

    def ask(num_clusters, node_bytes):
        node = {"Alive": True, "Resources": {"CPU": 1.0, "memory": node_bytes}}
        monkeypatch.setattr(room_module.ray, "nodes", lambda: [node])
        wide = [replace(block, files=replace(block.files, dim=768)) for block in stored[0]]
        passes = Blocks(wide, TaskRoom(), num_clusters=num_clusters)
        passes.sums(np.zeros((2, 5), np.float32))
        passes.start_rows({0: np.array([1])})
        return {name: words.get("memory", 0) for name, words in asked.items()}, len(passes._groups)

    return ask


def test_tasks_that_hold_sums_ask_for_their_memory_and_groups_are_smaller_where_these_are_large(asked_with, caplog):
    few = PassMemory(num_clusters=50, dim=768, block_frames=1200)
    for memory, num_groups in ((few, 2), (replace(few, num_clusters=40_000), len(SIZES))):
        asked = {"_along_tree": memory.task_bytes, "_merged": memory.task_bytes, "_rows_of": 0}
        assert asked_with(memory.num_clusters, 64e9) == (asked, num_groups)
    assert caplog.text == ""


def test_tasks_never_ask_for_more_than_a_node_has(asked_with, caplog):
    assert asked_with(50_000, 10**8)[0] == {"_along_tree": 10**8, "_merged": 10**8, "_rows_of": 0}
    assert "clustering.num_clusters=50000 of 768 dimensions takes about 2.5 GB" in caplog.text


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
            passes = kind(blocks, room, num_clusters=40)
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
