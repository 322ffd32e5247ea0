"""How evenly clusters are used, and for how long a label lasts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from ray_musicssl.clustering.codebook import entropy_nats

LONGEST_RUN = 250  # frames; longer runs are counted there: 2.5 s at 100 Hz


@dataclass(frozen=True)
class ClusterUsage:
    """Frames of each cluster, and what follows from them; a usage without frames has no entropy and all its clusters dead."""

    counts: Sequence[int]

    @property
    def num_frames(self) -> int:
        """Frames of all clusters."""
        return sum(self.counts)

    @property
    def num_dead(self) -> int:
        """Clusters without a frame."""
        return sum(count == 0 for count in self.counts)

    @property
    def entropy_bits(self) -> float:
        """Entropy of a frame's label, in bits."""
        return entropy_nats(self.counts) / math.log(2)

    @property
    def max_bits(self) -> float:
        """The entropy if all clusters were used evenly, in bits."""
        return math.log2(len(self.counts)) if self.counts else 0.0

    @property
    def effective(self) -> float:
        """Perplexity: as many clusters, evenly used, would have this entropy."""
        return 2**self.entropy_bits if self.num_frames else 0.0

    @property
    def largest_share(self) -> float:
        """Share of the frames that the fullest cluster has."""
        return max(self.counts) / self.num_frames if self.num_frames else 0.0

    @property
    def chance_run(self) -> float:
        """Mean run in frames if each frame drew its label anew; infinite if there is but one label."""
        repeats = sum((count / self.num_frames) ** 2 for count in self.counts) if self.num_frames else 0.0
        return 1 / (1 - repeats) if repeats < 1 else math.inf


def run_lengths(labels: Int[np.ndarray, " frames"], longest: int = LONGEST_RUN) -> Int64[np.ndarray, " lengths"]:
    """How many runs of equal labels there are of each length.

    Entry n counts the runs of n frames (entry 0 is empty), the last entry those of `longest` frames or more. Histograms of
    clips add up; a run never goes on from one clip to the next.
    """
    changes = np.flatnonzero(np.diff(labels)) + 1
    edges = np.concatenate([[0], changes, [len(labels)]]) if len(labels) else np.zeros(1, np.int64)
    return np.bincount(np.minimum(np.diff(edges), longest), minlength=longest + 1).astype(np.int64)


def mean_run(num_frames: int, runs: Sequence[int]) -> float:
    """Mean length of a run in frames, from their histogram; exact, since all frames lie in runs. 0 without runs.

    Args:
        num_frames: frames that the histogram was counted on.
        runs: entry n is the number of runs of n frames; the last one may hold longer runs too.
    """
    return num_frames / sum(runs) if sum(runs) else 0.0
