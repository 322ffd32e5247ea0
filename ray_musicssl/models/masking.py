"""Which frames are hidden from the encoder.

Conventions:
    A clip's mask depends on (seed, position in the stream) alone: not on the batch, the worker or a resume. Only
    `require_same_masks`, off by default, looks at the other clips of the micro-batch, which follow from the plan.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from ray_musicssl.config.masking import MaskingConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.randomness import generator

_MOST_DRAWS = 100


def span_mask(num_frames: int, config: MaskingConfig, draws: np.random.Generator) -> Bool[np.ndarray, " frames"]:
    """Draw the hidden frames of one clip: random spans that may overlap.

    Args:
        num_frames: frames of the clip.
        config: span length, probability and least number.
        draws: the clip's own generator.

    Raises:
        ConfigError: if spans of this length hide every frame of so short a clip.

    Source: fairseq's compute_mask_indices (static spans, no minimum gap): the number of spans is p * frames / length, rounded
    up or down at random; starts are distinct and the last possible start is never drawn.
    """
    for _ in range(_MOST_DRAWS):
        mask = _draw(num_frames, config, draws)
        if not mask.all():
            return mask
    raise ConfigError(
        f"spans of masking.mask_length={config.mask_length} hide all {num_frames} frames; "
        f"lower masking.mask_length or masking.min_masks, or raise audio.crop_s"
    )


def _draw(num_frames: int, config: MaskingConfig, draws: np.random.Generator) -> Bool[np.ndarray, " frames"]:
    expected = config.mask_prob * num_frames / config.mask_length
    num_spans = max(config.min_masks, int(expected + draws.random()))
    margin = config.mask_length  # kept free of starts at the clip's end
    if num_frames - margin <= num_spans:
        margin = num_frames - num_spans - 1
    num_starts = num_frames - max(0, margin)
    starts = draws.choice(num_starts, min(num_spans, num_starts), replace=False)
    hidden = (starts[:, None] + np.arange(config.mask_length)).ravel()
    mask = np.zeros(num_frames, bool)
    mask[hidden[hidden < num_frames]] = True
    return mask


def batch_mask(
    positions: Sequence[int], num_frames: int, config: MaskingConfig, seed: int
) -> Bool[np.ndarray, "batch frames"]:
    """The masks of the crops at `positions` of the stream; with `require_same_masks` those of one micro-batch.

    Source: fairseq reduces every clip of a batch to its smallest number of hidden frames, by removing single ones.
    """
    masks = np.stack([span_mask(num_frames, config, generator(seed, "mask", position)) for position in positions])
    if config.require_same_masks:
        fewest = int(masks.sum(axis=1).min())
        for mask, position in zip(masks, positions, strict=True):
            hidden = np.flatnonzero(mask)
            shown = generator(seed, "same masks", position).choice(hidden, len(hidden) - fewest, replace=False)
            mask[shown] = False
    return masks
