"""Hidden states of audio of any length; that seams do not show is in tests/probing and tests/features."""

import pytest
import torch

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.models.encoder import MusicEncoder, normalize
from ray_musicssl.models.windows import cut_windows, windowed_states

TINY = {"num_layers": 3, "dim": 32, "num_heads": 2, "ffn_dim": 64, "conv_dim": 16, "pos_conv_kernel": 16}


def tiny_model(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MusicEncoder(EncoderConfig(**TINY | settings)).eval()


def noise(num_samples):
    return torch.randn(num_samples, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.mark.parametrize("num_frames", [1, 1499, 1500, 1501, 2799, 2800, 2801, 3499, 100_000])
def test_windows_keep_every_frame_once_and_never_a_seam(num_frames):
    windows = cut_windows(num_frames)
    kept = [frame for window in windows for frame in range(window.keep_start, window.keep_stop)]
    assert kept == list(range(num_frames))
    for window in windows:
        assert window.start <= window.keep_start < window.keep_stop <= window.stop <= window.start + 1500
        # Context that is not kept, except where the recording itself begins or ends.
        assert window.start == 0 or window.keep_start - window.start >= 100
        assert window.stop == num_frames or window.stop - window.keep_stop >= 100


@pytest.mark.parametrize("normalize_waveform", [False, True])
@pytest.mark.parametrize("num_samples", [400, 719, 24_123])
def test_a_short_recording_is_one_pass_to_the_bit(num_samples, normalize_waveform):
    model, audio = tiny_model(normalize_waveform=normalize_waveform), noise(num_samples) + 0.2
    with torch.inference_mode():
        expected = model((normalize(audio) if normalize_waveform else audio)[None]).hidden_states
    states = windowed_states(model, audio, [0, 1, 2, 3])
    assert states.shape == (4, ENCODER_GRID.num_frames(num_samples), 32)
    assert torch.equal(states, torch.cat(expected))


def test_layers_come_in_the_order_asked_for_and_those_above_are_not_computed(monkeypatch):
    model, audio = tiny_model(), noise(16_000)
    whole = windowed_states(model, audio, [0, 1, 2, 3])
    monkeypatch.setattr(model.encoder.layers[2], "forward", lambda *_: pytest.fail("layer 3 is not asked for"))
    assert torch.equal(windowed_states(model, audio, [2, 0]), whole[[2, 0]])


@pytest.mark.parametrize("num_samples", [0, 1, 399])
def test_audio_shorter_than_a_frame_has_no_states(num_samples):
    assert windowed_states(tiny_model(), noise(num_samples), [1]).shape == (1, 0, 32)
