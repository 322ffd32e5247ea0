"""Hidden states of audio of any length: overlapping windows, of which only the inner frames are kept.

Conventions:
    A window is at most 30 s, the longest clip an encoder is trained on. Up to that length there is one window, and the
    states are those of one pass, bit for bit. Beyond it every frame is kept exactly once, from a window that sees at least
    2 s around it (less only where the recording itself begins or ends).
    So a long recording in windows is nearly one long pass: with a layer-norm stem within 1e-3 of states of spread 1. A stem
    with group norm takes its statistics from a window, as in training, not from the whole: 0.004 apart on average for noise.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.models.encoder import MusicEncoder, normalize

WINDOW_FRAMES = 1500  # 30 s
OVERLAP_FRAMES = 100  # on each side of a window, not kept inside a recording


class Window:
    """A stretch of frames to compute, and the inner stretch to keep."""

    def __init__(self, start: int, stop: int, num_frames: int) -> None:
        self.start, self.stop, self.is_last = start, stop, stop == num_frames
        self.keep_start = start + OVERLAP_FRAMES if start > 0 else 0
        self.keep_stop = stop - OVERLAP_FRAMES if stop < num_frames else stop


def cut_windows(num_frames: int) -> list[Window]:
    """Windows whose kept frames cover every frame once."""
    hop = WINDOW_FRAMES - 2 * OVERLAP_FRAMES
    starts = range(0, max(1, num_frames - 2 * OVERLAP_FRAMES), hop)
    return [Window(start, min(start + WINDOW_FRAMES, num_frames), num_frames) for start in starts]


@torch.inference_mode()
def windowed_states(
    model: MusicEncoder, waveform: Float[Tensor, " samples"], layers: Sequence[int]
) -> Float32[Tensor, "layers frames dim"]:
    """Hidden states of a recording, on the CPU.

    Args:
        model: the encoder, in evaluation; it runs on the device it is on.
        waveform: audio in [-1, 1]; the whole of it is normalised if the model's config says so.
        layers: numbers of hidden states, 0..L, at least one; layers above the highest are not computed.
    """
    num_frames = ENCODER_GRID.num_frames(len(waveform))
    states = torch.empty(len(layers), num_frames, model.config.dim)
    if num_frames == 0:
        return states
    unused = frozenset(range(max(layers), model.config.num_layers))
    audio = waveform.to(model.masked_spec_embed.device)
    if model.config.normalize_waveform:
        audio = normalize(audio)
    for window in cut_windows(num_frames):
        first = window.start * ENCODER_GRID.hop_length
        # To the very end of the recording: a stem with group norm hears also the samples behind the last whole frame.
        stop = None if window.is_last else first + ENCODER_GRID.num_samples(window.stop - window.start)
        output = model(audio[None, first:stop], skip_layers=unused)
        kept = slice(window.keep_start - window.start, window.keep_stop - window.start)
        for index, layer in enumerate(layers):
            states[index, window.keep_start : window.keep_stop] = output.hidden_states[layer][0, kept]
    return states
