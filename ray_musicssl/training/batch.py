"""From received crops to the tensors an objective sees."""

from collections.abc import Sequence

import numpy as np
import torch

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.audio.shard import FULL_SCALE
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.models.encoder import NORMALIZE_EPS
from ray_musicssl.models.masking import batch_mask
from ray_musicssl.objectives.base import PretrainBatch
from ray_musicssl.training.reader import Crops


def make_batch(
    crops: Crops, rows: slice, positions: Sequence[int], config: PretrainConfig, device: torch.device
) -> PretrainBatch:
    """Turn some of a worker's crops into a micro-batch.

    Args:
        crops: what the worker received.
        rows: which of them.
        positions: their positions in the stream, from which the masks follow.
        config: the run.
        device: where the tensors go.
    """
    waveform = torch.from_numpy(crops.pcm[rows].astype(np.float32)) / FULL_SCALE
    if config.encoder.normalize_waveform:
        # By the whole clip's level, as the reference normalises before it crops.
        mean, std = (torch.from_numpy(level[rows].copy())[:, None] for level in (crops.mean, crops.std))
        waveform = (waveform - mean) / torch.sqrt(std**2 + NORMALIZE_EPS)
    num_frames = ENCODER_GRID.num_frames(crops.pcm.shape[1])
    mask = torch.from_numpy(batch_mask(positions, num_frames, config.masking, config.training.seed))
    labels = (torch.from_numpy(label_set[rows].astype(np.int64)) for label_set in crops.labels)
    return PretrainBatch(
        waveform=waveform.to(device, non_blocking=True),
        mask=mask.to(device, non_blocking=True),
        labels=tuple(label_set.to(device, non_blocking=True) for label_set in labels),
    )
