"""How long labels stay the same: whether clusters are states of the music or flicker.

Conventions:
    A run is a stretch of equal labels inside one clip; the clip's ends end it. Entry i of a count is the number of runs of
    i + 1 frames; the last entry also holds all longer ones.
"""

from typing import Any

import numpy as np
from jaxtyping import Int, Int64

MOST_FRAMES = 100  # one second of MFCC labels, two of hidden ones


def count_runs(labels: Int[np.ndarray, " frames"]) -> Int64[np.ndarray, " lengths"]:
    """How many runs of each length a clip's labels have."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))  # no label is negative: the first frame starts a run
    lengths = np.diff(starts, append=len(labels))
    return np.bincount(np.minimum(lengths, MOST_FRAMES) - 1, minlength=MOST_FRAMES).astype(np.int64)


def run_length_facts(counts: Int64[np.ndarray, " lengths"], *, num_frames: int, frame_rate: float) -> dict[str, Any]:
    """What a label set says of its runs, as JSON-like values; the means are exact, whatever the last entry hides.

    Args:
        counts: runs by length.
        num_frames: frames of all these runs together.
        frame_rate: frames a second.
    """
    num_runs = int(counts.sum())
    mean = num_frames / num_runs if num_runs else 0.0
    return {"counts": counts.tolist(), "num_runs": num_runs, "mean_frames": mean, "mean_s": mean / frame_rate}
