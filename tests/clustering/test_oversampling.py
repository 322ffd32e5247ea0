from itertools import pairwise

import numpy as np
import pytest

from ray_musicssl.clustering.oversampling import NEAREST_TYPE, Round, SeedingState, first_row
from ray_musicssl.clustering.tree import add_along_tree


def frames_of(num_frames, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(num_frames, dim)).astype(np.float32)


def record(distances):
    nearest = np.zeros(len(distances), NEAREST_TYPE)
    nearest["distance"] = distances
    return nearest


def round_with(num_wanted, number=1, seed=0):
    return Round(number=number, seed=seed, num_before=0, num_wanted=num_wanted)


def test_records_are_those_of_a_search_among_all_candidates():
    frames, state = frames_of(500), SeedingState(candidates=frames_of(1, seed=1), ends=(1,))
    nearest = None
    for number, size in enumerate((5, 9, 2), 1):
        this = Round(number=number, seed=0, num_before=state.num_before, num_wanted=1)
        nearest = this.nearest(frames, state.newest, nearest)
        distances = ((frames[:, None].astype(float) - state.candidates[None]) ** 2).sum(-1)
        np.testing.assert_allclose(nearest["distance"], distances.min(axis=1), rtol=1e-5)
        np.testing.assert_array_equal(nearest["candidate"], distances.argmin(axis=1))
        state = state.with_drawn(frames_of(size, seed=10 + number))
    assert state.ends == (1, 6, 15, 17)


def test_of_equally_near_candidates_the_older_one_stays():
    frames, known = np.zeros((3, 2), np.float32), record([1.0, 2.0, 0.5])
    newest = np.array([[1.0, 0.0]], np.float32)  # at distance 1 of them all
    nearest = Round(number=2, seed=0, num_before=4, num_wanted=1).nearest(frames, newest, known)
    assert nearest["candidate"].tolist() == [0, 4, 0]
    assert nearest["distance"].tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("slabs", [[1000], [400, 600], [1, 998, 1]])
def test_winners_do_not_depend_on_the_slabs_or_on_who_merged_first(slabs):
    frames, distances = frames_of(1000), np.random.default_rng(3).exponential(size=1000).astype(np.float32)
    this, starts = round_with(50), np.cumsum([0, *slabs])
    whole = this.draw(frames, record(distances), block=2, start=0, num_now=1)
    parts = [
        this.draw(frames[a:b], record(distances[a:b]), block=2, start=int(a), num_now=1) for a, b in pairwise(starts)
    ]
    for order in (parts, parts[::-1]):
        merged = add_along_tree(order, lambda one, two: one.merged(two, 50))
        np.testing.assert_array_equal(merged.rows, whole.rows)
        np.testing.assert_array_equal(merged.frames, frames[whole.rows])
        assert merged.cost == pytest.approx(whole.cost)
        np.testing.assert_array_equal(merged.counts, [1000])


def test_frames_win_in_proportion_to_their_squared_distance():
    distances = np.array([1.0, 2.0, 4.0, 0.0], np.float32).repeat(500)
    wins = np.zeros(4)
    for seed in range(200):
        rows = round_with(20, seed=seed).draw(frames_of(2000), record(distances), block=0, start=0, num_now=1).rows
        assert len(set(rows.tolist())) == 20
        wins += np.bincount(rows // 500, minlength=4)
    np.testing.assert_allclose(wins / wins.sum(), [1 / 7, 2 / 7, 4 / 7, 0], atol=0.02)


def test_another_round_block_or_seed_draws_other_frames():
    frames, nearest = frames_of(1000), record(np.ones(1000, np.float32))

    def rows(*, block=0, **changes):
        return set(round_with(20, **changes).draw(frames, nearest, block=block, start=0, num_now=1).rows.tolist())

    assert rows() == rows()
    for other in (rows(number=2), rows(seed=1), rows(block=1)):
        assert len(rows() & other) < 5


def test_the_last_pass_draws_nothing_and_counts_everything():
    frames = frames_of(100)
    this = Round(number=6, seed=0, num_before=0, num_wanted=0)
    draw = this.draw(frames, this.nearest(frames, frames[:7], None), block=0, start=0, num_now=7)
    assert draw.frames.shape == (0, 4)
    assert draw.counts.sum() == 100
    assert (draw.counts > 0).all()


def test_the_first_frame_is_one_of_the_frames():
    rows = {first_row(10, seed) for seed in range(200)}
    assert rows == set(range(10))
