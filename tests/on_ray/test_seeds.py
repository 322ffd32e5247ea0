"""Seeding and mini-batches on blocks; tasks run at once in this process, in the order of their submission."""

import numpy as np
import pytest

from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.minibatch import MinibatchState
from ray_musicssl.clustering.oversampling import NUM_ROUNDS
from ray_musicssl.clustering.seeding import kmeans_plus_plus
from ray_musicssl.clustering.sums import partial_sums
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.on_ray import blocks as blocks_module
from ray_musicssl.on_ray import minibatches, seeds
from ray_musicssl.on_ray.block_frames import Block, Recipe
from ray_musicssl.on_ray.blocks import Blocks
from ray_musicssl.on_ray.minibatches import fit_minibatches
from ray_musicssl.on_ray.room import TaskRoom
from ray_musicssl.on_ray.seeds import NearestFiles, oversampled_seeds

SIZES = (900, 1, 1300, 700, 2100)
SETTINGS = ClusteringConfig(num_clusters=60, seeding="kmeans||", max_frames=10**6)


class Inline(Blocks):
    def start(self, function, *arguments, **_):
        return function(*arguments)


def mixture(num_frames):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 6)) * 4
    return (centres[rng.integers(60, size=num_frames)] + rng.normal(size=(num_frames, 6))).astype("f4")


@pytest.fixture
def frames():
    return mixture(sum(SIZES))


@pytest.fixture
def make_blocks(frames, tmp_path, monkeypatch):
    """Blocks of these frames on disk, in groups for so many workers."""
    monkeypatch.setattr(blocks_module, "memory_to_ask_for", lambda need_bytes, _: need_bytes)
    for module in (blocks_module, seeds, minibatches):
        monkeypatch.setattr(module.ray, "put", lambda value: value)
        monkeypatch.setattr(module, "result_of", lambda value: value, raising=False)
    files = BlockFiles(directory=tmp_path / "frames", dim=6)
    blocks = []
    for number, chunk in enumerate(np.split(frames, np.cumsum(SIZES)[:-1])):
        files.write(number, [chunk])
        blocks.append(Block(number=number, num_frames=len(chunk), files=files, recipe=Recipe.__new__(Recipe)))

    def make(num_workers=1):
        monkeypatch.setattr(TaskRoom, "num_slots", property(lambda _: num_workers))
        return Inline(blocks, TaskRoom(), num_clusters=SETTINGS.num_clusters)

    return make


def seed(blocks, directory, saved=None, keep=lambda _: None, settings=SETTINGS):
    return oversampled_seeds(blocks, settings, directory, saved, keep)


def test_oversampled_seeds_are_frames_and_serve_as_well_as_k_means_plus_plus(make_blocks, frames, tmp_path):
    found = seed(make_blocks(), tmp_path / "seeding")
    rows = {row.tobytes() for row in frames}
    assert len({row.tobytes() for row in found}) == 60
    assert {row.tobytes() for row in found} <= rows
    rival = partial_sums(frames, kmeans_plus_plus(frames, 60, seed=0)).inertia
    assert partial_sums(frames, found).inertia < 1.15 * rival
    assert partial_sums(frames, frames[:60]).inertia > 1.3 * rival, "any frames would do here"


def test_oversampled_seeds_are_the_same_for_any_number_of_workers(make_blocks, tmp_path):
    found = [seed(make_blocks(num_workers), tmp_path / str(num_workers)).tobytes() for num_workers in (1, 2, 4, 7)]
    assert len(set(found)) == 1


@pytest.mark.parametrize("num_rounds", range(1, NUM_ROUNDS + 1))
def test_seeding_that_was_stopped_after_any_round_goes_on_to_the_same_seeds(make_blocks, tmp_path, num_rounds):
    expected = seed(make_blocks(), tmp_path / "whole").tobytes()

    def stop(state):
        kept.append(state)
        if state.num_rounds == num_rounds:
            raise KeyboardInterrupt

    kept = []
    with pytest.raises(KeyboardInterrupt):
        seed(make_blocks(), tmp_path / "seeding", keep=stop)
    rounds = []
    found = seed(make_blocks(2), tmp_path / "seeding", kept[-1], lambda state: rounds.append(state.num_rounds))
    assert found.tobytes() == expected
    assert rounds == list(range(num_rounds + 1, NUM_ROUNDS + 1))


def test_seeding_whose_records_are_lost_begins_again_and_ends_the_same(make_blocks, tmp_path):
    kept = []
    expected = seed(make_blocks(), tmp_path / "seeding", keep=kept.append).tobytes()
    NearestFiles(directory=tmp_path / "seeding", round_number=3).remove()
    assert seed(make_blocks(), tmp_path / "seeding", kept[2]).tobytes() == expected


def test_fewer_distinct_frames_than_clusters_still_give_seeds(make_blocks, tmp_path):
    blocks = make_blocks()
    for number, size in enumerate(SIZES):
        blocks._groups[0][0].files.write(number, [np.full((size, 6), number, np.float32)])
    found = seed(blocks, tmp_path / "seeding")
    assert found.shape == (60, 6)
    assert {row[0] for row in found} == set(range(5))


@pytest.mark.parametrize("num_workers", [1, 4])
def test_mini_batches_are_the_same_for_any_number_of_workers_and_after_any_stop(make_blocks, frames, num_workers):
    settings = ClusteringConfig(num_clusters=60, algorithm="minibatch", batch_frames=100, num_iterations=3)
    begin = MinibatchState(centroids=frames[:60], counts=np.zeros(60, np.int64))
    states = []
    expected = fit_minibatches(make_blocks(), settings, begin, states.append)
    assert len(states) > 5
    for state in (begin, *states[::3]):
        found = fit_minibatches(make_blocks(num_workers), settings, state, lambda _: None)
        assert found.centroids.tobytes() == expected.centroids.tobytes()
        assert found.history == expected.history
