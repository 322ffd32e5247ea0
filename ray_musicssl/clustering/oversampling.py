"""The seeds of a large codebook, by passes over all frames: k-means||.

Conventions:
    Round 0 is one frame. In each later round every frame draws a number that depends on (seed, round, block, row) alone,
    and the frames that win make the round's candidates. A frame's memory between rounds is its `Nearest` record.
    After the last round each candidate weighs as many frames as are nearest to it; `weighted_seeds` picks from them.

Source: Bahmani et al. 2012, Scalable K-Means++. There each frame is drawn by a coin of its own with probability
    l d^2 / cost, which needs the cost before the draw: a second pass. Here an exponential race (the smallest -log(u) / d^2
    win; Efraimidis and Spirakis 2006) draws exactly l frames with the same weights, without replacement, in the same pass.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from ray_musicssl.clustering.sums import assign
from ray_musicssl.randomness import key, mix

NUM_ROUNDS = 5  # after the first frame. Source: Bahmani et al. 2012, 5.3: five rounds are enough
CANDIDATES_PER_CLUSTER = 1  # a round; five times as many candidates as clusters in the end
NEAREST_TYPE = np.dtype([("distance", "<f4"), ("candidate", "<i4")])  # of a frame: squared distance, and to which


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a round made of some frames: the winners, best first, and how well the candidates before them serve."""

    keys: Float64[np.ndarray, " winners"]
    blocks: Int64[np.ndarray, " winners"]
    rows: Int64[np.ndarray, " winners"]  # inside their block
    frames: Float32[np.ndarray, "winners dim"]
    counts: Int64[np.ndarray, " candidates"]  # frames nearest to each candidate so far
    cost: float  # sum of squared distances to the nearest candidate

    def merged(self, other: "Draw", count: int) -> "Draw":
        """The `count` best of both; frames and costs of both."""
        keys, blocks, rows, frames = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("keys", "blocks", "rows", "frames")
        )
        order = np.lexsort((rows, blocks, keys))[:count]  # a total order: who merged what when does not matter
        return Draw(
            keys=keys[order],
            blocks=blocks[order],
            rows=rows[order],
            frames=frames[order],
            counts=self.counts + other.counts,
            cost=self.cost + other.cost,
        )


@dataclass(frozen=True, kw_only=True)
class Round:
    """One pass of k-means||."""

    number: int  # from 1
    seed: int
    num_before: int  # candidates of all rounds but the last one
    num_wanted: int  # candidates to draw; 0 in the pass that only weighs

    def nearest(
        self,
        frames: Float32[np.ndarray, "frames dim"],
        newest: Float32[np.ndarray, "candidates dim"],
        before: np.ndarray | None,
        *,
        device: str = "cpu",
    ) -> np.ndarray:
        """The frames' records with the last round's candidates taken into account; an equally near older one stays.

        Args:
            frames: some frames.
            newest: the candidates of the round before this one.
            before: their records of `NEAREST_TYPE` without these candidates; None in the first round.
            device: where the products are computed, `cpu` or `cuda`.
        """
        labels = assign(frames, newest, device=device)
        difference = frames - newest[labels]
        found = np.empty(len(frames), NEAREST_TYPE)
        found["distance"] = np.einsum("nd,nd->n", difference, difference)
        found["candidate"] = labels + self.num_before
        if before is None:
            return found
        return np.where(found["distance"] < before["distance"], found, before)

    def draw(
        self, frames: Float32[np.ndarray, "frames dim"], nearest: np.ndarray, *, block: int, start: int, num_now: int
    ) -> Draw:
        """The winners among rows `start`, `start + 1`, ... of a block.

        Args:
            frames: these rows.
            nearest: their records.
            block: the block's number.
            start: the first row's number.
            num_now: candidates so far.
        """
        rows = np.arange(start, start + len(frames))
        salt = key(self.seed, "kmeans||", self.number, block)
        uniform = (mix(rows.astype(np.uint64), salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        with np.errstate(divide="ignore", invalid="ignore"):
            keys = -np.log1p(-uniform) / nearest["distance"]
        keys[~(nearest["distance"] > 0)] = np.inf  # a candidate is not drawn again
        few = np.argsort(keys, kind="stable")[: self.num_wanted]
        few = few[np.isfinite(keys[few])]
        return Draw(
            keys=keys[few],
            blocks=np.full(len(few), block, np.int64),
            rows=rows[few],
            frames=frames[few],
            counts=np.bincount(nearest["candidate"], minlength=num_now),
            cost=float(nearest["distance"].sum(dtype=np.float64)),
        )


def first_row(num_frames: int, seed: int) -> int:
    """The number of the frame that is round 0."""
    return key(seed, "kmeans||", 0) % num_frames


@dataclass(frozen=True, kw_only=True)
class SeedingState:
    """Candidates of the rounds so far; `ends[r]` is how many there are after round r."""

    candidates: Float32[np.ndarray, "candidates dim"]
    ends: tuple[int, ...]

    @property
    def num_rounds(self) -> int:
        """Rounds made, the first frame not counted."""
        return len(self.ends) - 1

    @property
    def newest(self) -> Float32[np.ndarray, "candidates dim"]:
        """The last round's candidates."""
        return self.candidates[self.num_before :]

    @property
    def num_before(self) -> int:
        """Candidates of the rounds before the last."""
        return self.ends[-2] if len(self.ends) > 1 else 0

    def with_drawn(self, frames: Float32[np.ndarray, "winners dim"]) -> "SeedingState":
        """The state after another round."""
        candidates = np.concatenate([self.candidates, frames])
        return SeedingState(candidates=candidates, ends=(*self.ends, len(candidates)))
