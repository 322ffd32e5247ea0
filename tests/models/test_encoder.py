import math

import numpy as np
import pytest
import torch

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.models.encoder import MusicEncoder, normalize
from ray_musicssl.models.feature_encoder import scale_gradient

TINY = {"num_layers": 2, "dim": 96, "num_heads": 4, "ffn_dim": 192, "conv_dim": 32, "layerdrop": 0.0}
HUBERT = EncoderConfig(**TINY)
DATA2VEC = EncoderConfig(**TINY, conv_norm="layer", pos_conv_depth=5, pos_conv_kernel=19)


def signal(num_samples):
    n = np.arange(num_samples)
    x = 0.5 * np.sin(2 * np.pi * 440 * n / 16000) + 0.1 * (n / 16000) * np.sin(2 * np.pi * 1000 * n / 16000 + 0.3)
    return torch.from_numpy(x.astype(np.float32))[None]


def fill(model):
    """Weights as a formula of name order and index, so that another implementation can have the same ones."""
    for i, name in enumerate(sorted(dict(model.named_parameters()))):
        parameter = model.get_parameter(name)
        base = 1.0 if name.endswith("original0") or ("norm" in name and name.endswith("weight")) else 0.0
        amplitude = 0.05 if parameter.ndim > 1 else 0.02
        j = np.arange(parameter.numel())
        values = base + amplitude * np.sin(0.37 * j + i)
        parameter.data = torch.from_numpy(values.astype(np.float32)).view_as(parameter)
    return model.eval()


# Derived with transformers 5.23's HubertModel and Data2VecAudioModel on the same weights and signal (CPU, float32).
KNOWN = [
    (
        HUBERT,
        243_808,
        -0.006839,
        0.996639,
        [-1.27430, -1.06553, -1.26882, -0.83902, -0.04139],
        [-1.15713, -1.28061, -1.14768, -0.73086],
    ),
    (
        DATA2VEC,
        225_440,
        -0.002771,
        0.989831,
        [-0.79514, -0.51416, -0.18263, -0.51241, -0.42432],
        [-0.59903, -0.61307, -0.31775, -0.32855],
    ),
]


@pytest.mark.parametrize(
    ("config", "num_parameters", "mean", "std", "first", "input_first"), KNOWN, ids=["hubert", "data2vec"]
)
def test_hidden_states_equal_the_reference_implementation_s(config, num_parameters, mean, std, first, input_first):
    model = fill(MusicEncoder(config))
    assert sum(p.numel() for p in model.parameters()) == num_parameters
    with torch.no_grad():
        hidden_states = model(signal(8000)).hidden_states
    last = hidden_states[-1]
    assert last.shape == (1, 24, 96)
    assert float(last.mean()) == pytest.approx(mean, abs=2e-5)
    assert float(last.std()) == pytest.approx(std, abs=2e-5)
    np.testing.assert_allclose(last[0, 0, :5], first, atol=2e-5)
    np.testing.assert_allclose(hidden_states[0][0, 0, :4], input_first, atol=2e-5)


# Source: layer sizes of HuBERT base and data2vec audio base, multiplied out.
@pytest.mark.parametrize(
    ("config", "total"),
    [
        (EncoderConfig(), 94_371_712),
        (EncoderConfig(conv_norm="layer", pos_conv_depth=5, pos_conv_kernel=19), 93_164_288),
    ],
)
def test_base_models_have_the_published_number_of_parameters(config, total):
    with torch.device("meta"):
        model = MusicEncoder(config)
    assert sum(p.numel() for p in model.parameters()) == total


def test_a_masked_frame_is_replaced_before_the_transformer_and_others_are_not():
    model = MusicEncoder(HUBERT).eval()
    mask = torch.zeros(1, 24, dtype=torch.bool)
    mask[0, 5] = True
    x = signal(8000)
    with torch.no_grad():
        louder = x.clone()
        louder[0, 5 * 320 + 80 : 5 * 320 + 320] *= 3  # heard by frame 5 alone
        features = [model.feature_extractor.conv_layers[0].conv(w[:, None]) for w in (x, louder)]
        assert not torch.equal(*features)
    with torch.no_grad():
        model.masked_spec_embed.zero_()
        zeros = model(x, mask).hidden_states[0]
        model.masked_spec_embed.fill_(5.0)
        fives = model(x, mask).hidden_states[0]
        nothing_hidden = model(x).hidden_states[0]
    assert not torch.allclose(zeros, fives)
    model.encoder.pos_conv_embed = _NoPosition()
    with torch.no_grad():
        alone = model(x, mask).hidden_states[0]
        free = model(x).hidden_states[0]
    assert torch.equal(alone[0, :5], free[0, :5])
    assert torch.equal(alone[0, 6:], free[0, 6:])
    assert not torch.allclose(alone[0, 5], free[0, 5])
    assert nothing_hidden.shape == fives.shape


class _NoPosition(torch.nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


def test_skipped_layers_leave_their_hidden_state_unchanged():
    model = MusicEncoder(HUBERT).eval()
    with torch.no_grad():
        output = model(signal(8000), skip_layers=frozenset({0}))
    assert torch.equal(output.hidden_states[0], output.hidden_states[1])
    assert not torch.equal(output.hidden_states[1], output.hidden_states[2])


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
def test_the_gradient_into_the_stem_is_scaled_and_the_value_is_not(factor):
    x = torch.tensor([2.0], requires_grad=True)
    y = scale_gradient(x, factor)
    assert float(y.detach()) == 2.0
    if factor:
        y.backward()
        assert float(x.grad) == pytest.approx(factor)
    else:
        assert not y.requires_grad


def test_normalised_audio_has_zero_mean_and_unit_variance():
    x = normalize(torch.randn(3, 16000, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.3)
    assert torch.allclose(x.mean(-1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x.std(-1, correction=0), torch.ones(3), atol=1e-3)
    assert math.isfinite(float(normalize(torch.zeros(1, 400)).sum()))
