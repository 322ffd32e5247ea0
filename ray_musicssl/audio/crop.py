"""Where a random crop starts, and which labels belong to it.

Conventions:
    Crops start on the encoder's hop (320 samples), which every label grid divides, so frame t of a crop that starts at
    sample a has the label number a / label_hop + t * (320 / label_hop), exactly.
"""

import numpy as np
from jaxtyping import Int, Int32

from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE
from ray_musicssl.errors import DataError


def crop_start(num_samples: int, crop_samples: int, crop_seed: int) -> int:
    """The first sample of a crop of a clip, a multiple of the encoder's hop.

    Args:
        num_samples: length of the clip, at least `crop_samples`.
        crop_samples: length of the crop.
        crop_seed: any whole number; equal seeds give equal crops.
    """
    choices = (num_samples - crop_samples) // ENCODER_GRID.hop_length + 1
    return ENCODER_GRID.hop_length * (crop_seed % choices)


def labels_per_frame(frame_rate: float) -> int:
    """How many labels fall on one encoder frame.

    Raises:
        DataError: if the labels' grid does not divide the encoder's.
    """
    ratio = frame_rate / ENCODER_GRID.frame_rate
    if ratio < 1 or ratio != int(ratio):
        raise DataError(
            f"labels are at {frame_rate} Hz but the encoder runs at {ENCODER_GRID.frame_rate} Hz; "
            f"label the shards at a whole multiple of that rate"
        )
    return int(ratio)


def crop_labels(
    labels: Int[np.ndarray, " label_frames"], start: int, num_frames: int, frame_rate: float
) -> Int32[np.ndarray, " frames"]:
    """The label of each encoder frame of a crop.

    Args:
        labels: the whole clip's labels at `frame_rate` Hz.
        start: the crop's first sample, from `crop_start`.
        num_frames: encoder frames of the crop.
        frame_rate: labels a second.

    Raises:
        DataError: if the clip has too few labels for the crop.

    Source: fairseq's hubert takes every second label of a 100 Hz grid; here the crop starts on that grid.
    """
    ratio = labels_per_frame(frame_rate)
    first = start * round(frame_rate) // SAMPLE_RATE
    chosen = labels[first : first + ratio * num_frames : ratio]
    if len(chosen) < num_frames:
        raise DataError(
            f"a crop from sample {start} needs {num_frames} frames but the clip has {len(labels)} labels at {frame_rate} Hz; "
            f"the labels belong to other audio: label the shards again"
        )
    return chosen.astype(np.int32)
