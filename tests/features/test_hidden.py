import numpy as np
import pytest
import torch

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.feature import HiddenConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.features.base import TargetFeature, clip_frames, make_feature
from ray_musicssl.features.hidden import Hidden
from ray_musicssl.models import windows
from ray_musicssl.models.encoder import MusicEncoder, normalize

TINY = {"num_layers": 2, "dim": 32, "num_heads": 2, "ffn_dim": 64, "conv_dim": 16, "dropout": 0.5, "input_dropout": 0.5}
STEMS = {
    "group": {"conv_norm": "group"},
    "layer": {"conv_norm": "layer", "normalize_waveform": True, "pos_conv_depth": 5, "pos_conv_kernel": 19},
}
LONG = 70 * 16_000 + 123  # samples: three windows


def model_of(stem):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MusicEncoder(EncoderConfig(**TINY, **STEMS[stem]))


def noise(num_samples, seed=1):
    return torch.randn(num_samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@torch.no_grad()
def one_pass(model, waveform, layer):
    audio = normalize(waveform) if model.config.normalize_waveform else waveform
    return model.eval()(audio[None]).hidden_states[layer][0]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("stem", STEMS)
def test_frames_are_the_model_s_hidden_state_without_dropout_or_mask(stem, layer):
    model, waveform = model_of(stem).train(), noise(24_123) + 0.2
    feature = Hidden(model, layer)
    frames = feature(waveform)
    assert (feature.name, feature.dim, feature.grid) == ("hidden", 32, ENCODER_GRID)
    assert frames.shape == (ENCODER_GRID.num_frames(24_123), 32)
    assert torch.equal(frames, one_pass(model, waveform, layer))


# Measured on values of spread 1: 8e-4 with layer norm, where only attention is cut short; 0.064 (mean 0.004) with group norm,
# whose statistics are those of a window's 30 s instead of the whole 70 s.
TOLERANCES = {"layer": 3e-3, "group": 0.15}


@pytest.mark.parametrize("stem", STEMS)
def test_a_long_clip_in_windows_is_nearly_one_long_pass_and_loses_no_frame(stem):
    model, waveform = model_of(stem), noise(LONG)
    frames = Hidden(model, 2)(waveform)
    assert frames.shape == (ENCODER_GRID.num_frames(LONG), 32) == (3500, 32)
    assert (frames - one_pass(model, waveform, 2)).abs().max() < TOLERANCES[stem]


@pytest.mark.parametrize("stem", STEMS)
def test_without_overlap_the_seams_would_show(stem, monkeypatch):
    """The twin of the test above: its tolerances tell seams from none (measured: 4.9 and 0.78)."""
    monkeypatch.setattr(windows, "OVERLAP_FRAMES", 0)
    model, waveform = model_of(stem), noise(LONG)
    assert (Hidden(model, 2)(waveform) - one_pass(model, waveform, 2)).abs().max() > 3 * TOLERANCES[stem]


def test_a_frame_does_not_depend_on_the_clips_it_is_computed_with():
    feature = Hidden(model_of("group"), 1)
    batch = torch.stack([noise(8_000), 5 * noise(8_000, seed=2), torch.zeros(8_000)])
    frames = feature(batch)
    assert frames.shape == (3, 24, 32)
    assert torch.equal(frames, torch.stack([feature(row) for row in batch]))


@pytest.mark.parametrize("num_samples", [0, 399])
def test_a_clip_shorter_than_a_frame_has_none(num_samples):
    assert Hidden(model_of("group"), 1)(torch.ones(num_samples)).shape == (0, 32)
    assert clip_frames(Hidden(model_of("layer"), 1), np.ones(num_samples, np.int16)).shape == (0, 32)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_is_not_there_is_refused_with_what_is(layer):
    with pytest.raises(
        ConfigError, match=rf"layer={layer} does not exist; this encoder has layers 0..2 .*feature.layer"
    ):
        Hidden(model_of("group"), layer)


def test_the_section_and_the_model_it_names_reach_the_feature():
    model, waveform = model_of("group"), noise(8_000)
    asked = []
    config = HiddenConfig(layer=1, encoder="somewhere", encoder_hash="1a2b")
    feature = make_feature(config, load_model=lambda section: asked.append(section) or model)
    assert asked == [config]
    assert isinstance(feature, TargetFeature)
    assert torch.equal(feature(waveform), one_pass(model, waveform, 1))
    with pytest.raises(ConfigError, match="needs the encoder at 'somewhere' loaded"):
        make_feature(config)
