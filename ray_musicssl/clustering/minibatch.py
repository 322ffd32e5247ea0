"""Mini-batch k-means: centroids that move after every batch, by the share of it in all they have seen.

Conventions:
    Frames are drawn in pieces of `PIECE_FRAMES` neighbours: all pieces once a pass, in an order that seed and pass decide.
    A round is a pool of pieces from all over the frames; the pool's frames are shuffled and dealt out to a few batches, and
    the state is saved after it. All of this is a function of (seed, round), so a round can be gathered anywhere, in advance.
    One step needs the one before it, so steps are not made in parallel; the gathering is.

Source: Sculley 2010; the smoothed inertia and the stop rule are those of scikit-learn's MiniBatchKMeans (`ewa_inertia`,
    `max_no_improvement`), which fairseq's recipe uses with tol 0 and reassignment ratio 0.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int64

from ray_musicssl.clustering.sums import partial_sums
from ray_musicssl.randomness import permutation

PIECE_FRAMES = 256  # 2.6 s of MFCC: one read of 40 KB, and a hundred places in a batch
MOST_BATCHES_A_ROUND = 10
POOL_BYTES = 64 << 20  # of a round's frames; wide frames make fewer batches a round, not larger pools


@dataclass(frozen=True, kw_only=True)
class MinibatchState:
    """Where the loop is: after `num_rounds` rounds."""

    centroids: Float32[np.ndarray, "clusters dim"]
    counts: Int64[np.ndarray, " clusters"]  # frames that each centroid has seen
    num_rounds: int = 0
    num_steps: int = 0
    smoothed: float = -1.0  # inertia a frame, exponentially weighted; negative: none yet
    lowest: float = -1.0  # of `smoothed` so far; negative: none yet
    num_without_gain: int = 0  # steps since
    history: tuple[float, ...] = ()  # of each round: mean inertia a frame of its batches, before their updates


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Which frames each round draws."""

    sizes: tuple[int, ...]  # frames of each block
    dim: int
    batch_frames: int
    num_passes: int  # most passes over all frames
    max_no_improvement: int
    seed: int

    @property
    def num_frames(self) -> int:
        """Frames in all blocks."""
        return sum(self.sizes)

    @property
    def pieces_a_round(self) -> int:
        """Pieces of one pool."""
        by_bytes = POOL_BYTES // (self.dim * 4 * self.batch_frames)
        pool_frames = self.batch_frames * max(1, min(MOST_BATCHES_A_ROUND, by_bytes))
        return min(-(-pool_frames // PIECE_FRAMES), self._num_pieces)

    @property
    def num_rounds(self) -> int:
        """Most rounds."""
        return -(-self.num_passes * self._num_pieces // self.pieces_a_round)

    @property
    def _num_pieces(self) -> int:
        return int(_piece_starts(self.sizes)[-1])

    def rows_of(self, number: int) -> dict[int, Int64[np.ndarray, " rows"]]:
        """The frames of a round: of each block that it touches, their numbers in it, ascending; blocks ascending."""
        first = number * self.pieces_a_round
        positions = np.arange(first, first + self.pieces_a_round)
        passes = positions // self._num_pieces
        pieces = np.concatenate(
            [
                _order(self._num_pieces, self.seed, int(which))[positions[passes == which] % self._num_pieces]
                for which in np.unique(passes)
            ]
        )
        return self._rows(np.sort(pieces))

    def _rows(self, pieces: Int64[np.ndarray, " pieces"]) -> dict[int, Int64[np.ndarray, " rows"]]:
        starts = _piece_starts(self.sizes)
        blocks = np.searchsorted(starts, pieces, side="right") - 1
        rows = {}
        for block in np.unique(blocks).tolist():
            begin = (pieces[blocks == block] - starts[block]) * PIECE_FRAMES
            inside = (begin[:, None] + np.arange(PIECE_FRAMES)).ravel()
            rows[block] = inside[inside < self.sizes[block]]  # a block's last piece may be shorter
        return rows

    def batches(
        self, pool: Float32[np.ndarray, "frames dim"], number: int
    ) -> list[Float32[np.ndarray, "batch_frames dim"]]:
        """A round's frames, shuffled and dealt out to batches of about `batch_frames`."""
        order = permutation(len(pool), self.seed, "minibatch frames", number)
        num_batches = max(1, round(len(pool) / self.batch_frames))
        return [pool[rows] for rows in np.array_split(order, num_batches)]

    def is_over(self, state: MinibatchState) -> bool:
        """Whether the loop ends here."""
        return state.num_rounds >= self.num_rounds or state.num_without_gain >= self.max_no_improvement

    def advance(
        self, state: MinibatchState, pool: Float32[np.ndarray, "frames dim"], *, device: str = "cpu"
    ) -> MinibatchState:
        """Make the steps of one round, or fewer if the stop rule says so in between."""
        inertias = []
        for batch in self.batches(pool, state.num_rounds):
            state, inertia = self._step(state, batch, device)
            inertias.append(inertia)
            if state.num_without_gain >= self.max_no_improvement:
                break
        return replace(state, num_rounds=state.num_rounds + 1, history=(*state.history, float(np.mean(inertias))))

    def _step(
        self, state: MinibatchState, batch: Float32[np.ndarray, "frames dim"], device: str
    ) -> tuple[MinibatchState, float]:
        """The state after one batch, and the batch's inertia a frame before it."""
        found = partial_sums(batch, state.centroids, device=device)
        counts = state.counts + found.counts
        hit = found.counts > 0
        centroids = state.centroids.copy()
        seen = state.centroids[hit].astype(np.float64) * state.counts[hit, None]
        centroids[hit] = (seen + found.sums[hit]) / counts[hit, None]
        inertia = found.inertia / len(batch)
        moved = replace(state, centroids=centroids, counts=counts, num_steps=state.num_steps + 1)
        return self._judged(moved, inertia, len(batch)), inertia

    def _judged(self, state: MinibatchState, inertia: float, num_frames: int) -> MinibatchState:
        if state.num_steps == 1:
            return state  # the first batch judges the seeds
        share = min(1.0, 2 * num_frames / (self.num_frames + 1))
        smoothed = inertia if state.smoothed < 0 else state.smoothed * (1 - share) + inertia * share
        if state.lowest < 0 or smoothed < state.lowest:
            return replace(state, smoothed=smoothed, lowest=smoothed, num_without_gain=0)
        return replace(state, smoothed=smoothed, num_without_gain=state.num_without_gain + 1)


@lru_cache(maxsize=2)
def _piece_starts(sizes: tuple[int, ...]) -> Int64[np.ndarray, " blocks_and_one"]:
    """The number of each block's first piece, and the number of pieces."""
    return np.concatenate([[0], np.cumsum(-(-np.array(sizes, np.int64) // PIECE_FRAMES))])


@lru_cache(maxsize=2)
def _order(num_pieces: int, seed: int, which_pass: int) -> Int64[np.ndarray, " pieces"]:
    return permutation(num_pieces, seed, "minibatch", which_pass)
