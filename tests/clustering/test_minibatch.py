import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import MiniBatchKMeans

from ray_musicssl.clustering.lloyd import fit
from ray_musicssl.clustering.minibatch import PIECE_FRAMES, BatchPlan, MinibatchState
from ray_musicssl.clustering.state import load_state, save_state
from ray_musicssl.clustering.sums import one_blas_thread, partial_sums


def mixture(num_frames=6000, num_centres=40, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_centres, 6)) * 3
    return (centres[rng.integers(num_centres, size=num_frames)] + rng.normal(size=(num_frames, 6))).astype("f4")


def plan(sizes=(2500, 1000, 2500), **changes):
    settings = {"batch_frames": 500, "num_passes": 100, "max_no_improvement": 100, "seed": 0}
    return BatchPlan(sizes=sizes, dim=6, **(settings | changes))


def pool_of(batches, frames, number):
    starts = np.cumsum([0, *batches.sizes])
    return np.concatenate([frames[rows + starts[block]] for block, rows in batches.rows_of(number).items()])


def run(batches, frames, state, on_round=lambda _: None):
    with one_blas_thread():
        while not batches.is_over(state):
            state = batches.advance(state, pool_of(batches, frames, state.num_rounds))
            on_round(state)
    return state


def start(centroids):
    return MinibatchState(centroids=centroids, counts=np.zeros(len(centroids), np.int64))


@given(
    sizes=st.lists(st.integers(1, 3 * PIECE_FRAMES), min_size=1, max_size=6).map(tuple),
    batch_frames=st.integers(1, 400),
)
def test_every_pass_draws_every_frame_once(sizes, batch_frames):
    batches = plan(sizes, batch_frames=batch_frames)
    drawn = [np.zeros(size, int) for size in sizes]
    for number in range(batches._num_pieces):  # as many pieces as `pieces_a_round` passes
        for block, rows in batches.rows_of(number).items():
            np.add.at(drawn[block], rows, 1)
    assert all((count == batches.pieces_a_round).all() for count in drawn)


def test_batches_are_the_pool_shuffled_and_about_as_large_as_asked_for():
    frames = np.arange(5300, dtype=np.float32)[:, None]
    found = plan().batches(frames, 3)
    assert [len(batch) for batch in found] == [482] * 9 + [481] * 2
    np.testing.assert_array_equal(np.sort(np.concatenate(found)[:, 0]), frames[:, 0])
    assert abs(np.corrcoef(np.concatenate(found)[:, 0], frames[:, 0])[0, 1]) < 0.05


def test_a_step_moves_centroids_as_scikit_learn_does():
    frames = mixture()
    start_at, theirs = frames[:20], MiniBatchKMeans(20, init=frames[:20], n_init=1, reassignment_ratio=0)
    state = start(start_at)
    for first in (0, 500, 1000):
        batch = frames[first : first + 500]
        theirs.partial_fit(batch)
        state, _ = plan()._step(state, batch, "cpu")
    np.testing.assert_allclose(state.centroids, theirs.cluster_centers_, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(state.counts, theirs._counts)
    assert state.num_steps == 3


def test_the_score_is_that_of_scikit_learn_within_a_few_percent():
    frames = mixture()
    words = {"batch_size": 500, "max_iter": 100, "tol": 0, "max_no_improvement": 100, "reassignment_ratio": 0}
    theirs = MiniBatchKMeans(40, init=frames[:40], n_init=1, random_state=0, **words).fit(frames).inertia_
    ours = partial_sums(frames, run(plan(), frames, start(frames[:40])).centroids).inertia
    assert ours == pytest.approx(theirs, rel=0.03)
    assert ours == pytest.approx(fit(frames, frames[:40], 50).inertia, rel=0.05)


def test_a_fit_that_goes_on_from_any_saved_round_ends_with_the_same_bits(tmp_path):
    frames, batches, states = mixture(), plan(num_passes=4, max_no_improvement=1000), []
    whole = run(batches, frames, start(frames[:20]), states.append)
    assert len(states) == batches.num_rounds > 3
    for state in states:
        save_state(tmp_path / "state", state, "f")
        resumed = run(batches, frames, load_state(tmp_path / "state", "f"))
        assert resumed.centroids.tobytes() == whole.centroids.tobytes()
        assert (resumed.history, resumed.smoothed) == (whole.history, whole.smoothed)


def test_every_pass_draws_its_pieces_and_every_round_its_frames_in_another_order():
    batches = plan(sizes=(100 * PIECE_FRAMES,), batch_frames=PIECE_FRAMES)  # ten rounds a pass
    first, second = (batches.rows_of(number)[0] for number in (0, 10))
    assert not np.array_equal(first, second)
    frames = np.arange(5300, dtype=np.float32)[:, None]
    assert not np.array_equal(plan().batches(frames, 0)[0], plan().batches(frames, 1)[0])


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_it_stops_after_so_many_batches_without_gain(limit):
    frames = mixture()
    ended = run(plan(max_no_improvement=limit), frames, start(frames[:20]))
    assert ended.num_without_gain == limit
    assert ended.num_rounds < plan().num_rounds
    assert len(ended.history) == ended.num_rounds


def test_wide_frames_make_fewer_batches_a_round_and_not_a_larger_pool():
    narrow = BatchPlan(sizes=(10**6,), dim=39, batch_frames=10_000, num_passes=1, max_no_improvement=1, seed=0)
    wide = BatchPlan(sizes=(10**6,), dim=768, batch_frames=10_000, num_passes=1, max_no_improvement=1, seed=0)
    assert narrow.pieces_a_round * PIECE_FRAMES == pytest.approx(100_000, rel=0.01)
    assert wide.pieces_a_round * PIECE_FRAMES * 768 * 4 <= 64 << 20


def test_the_smoothed_inertia_is_scikit_learns_and_leaves_out_the_first_batch():
    frames, step = mixture(num_frames=999), 100
    peer = MiniBatchKMeans(5, init=frames[:5], n_init=1, batch_size=step, random_state=0)
    peer._ewa_inertia = peer._ewa_inertia_min = None
    peer._no_improvement, peer._max_no_improvement, peer._tol, peer._batch_size = 0, 100, 0.0, step
    batches = plan(sizes=(999,), batch_frames=step)
    state = start(frames[:5])
    for number in range(6):
        batch = frames[number * step : (number + 1) * step]
        state, inertia = batches._step(state, batch, "cpu")
        peer._mini_batch_convergence(number, 6, 999, 0.0, inertia * step)
        assert state.smoothed == (-1.0 if number == 0 else pytest.approx(peer._ewa_inertia))
