"""The encoder against Hugging Face's `HubertModel` and `Data2VecAudioModel` with the same weights."""

from dataclasses import dataclass

import pytest
import torch
import transformers

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.models.encoder import MusicEncoder

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Flavour:
    """One reference model, and our settings for it."""

    reference: type
    reference_config: type
    ours: dict
    theirs: dict


HUBERT = Flavour(transformers.HubertModel, transformers.HubertConfig, {}, {})
DATA2VEC = Flavour(
    transformers.Data2VecAudioModel,
    transformers.Data2VecAudioConfig,
    {"conv_norm": "layer", "pos_conv_depth": 5, "pos_conv_kernel": 19},
    {},
)
SIZES = [
    {"num_layers": 2, "dim": 96, "num_heads": 4, "ffn_dim": 192, "conv_dim": 32},
    {"num_layers": 3, "dim": 64, "num_heads": 8, "ffn_dim": 100, "conv_dim": 48},
    {"num_layers": 1, "dim": 128, "num_heads": 2, "ffn_dim": 256, "conv_dim": 16, "pos_conv_groups": 8},
]


def pair(flavour, size):
    """The reference with random weights, and ours with the same; nothing random is on, gradients into the stem are whole."""
    config = EncoderConfig(**size, **flavour.ours, feature_grad_mult=1.0)
    torch.manual_seed(0)
    theirs = flavour.reference(
        flavour.reference_config(
            hidden_size=config.dim,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=config.ffn_dim,
            conv_dim=[config.conv_dim] * 7,
            num_conv_pos_embedding_groups=config.pos_conv_groups,
            apply_spec_augment=False,
            attn_implementation="eager",  # matrix products written out, where ours calls a fused kernel
            **flavour.theirs,
        )
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # away from biases of 0 and norms of 1, which would hide mistakes
            parameter.add_(0.02 * torch.randn(parameter.shape))
    ours = MusicEncoder(config).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def waveforms(*lengths):
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        batch[row, :length] = 0.3 * torch.randn(length, generator=torch.Generator().manual_seed(row))
    return batch


def largest_difference(ours, theirs):
    return max(float((a - b).detach().abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s['num_layers']}x{s['dim']}")
@pytest.mark.parametrize("flavour", [HUBERT, DATA2VEC], ids=["hubert", "data2vec"])
@pytest.mark.parametrize("num_samples", [400, 719, 16_000, 50_003])
def test_hidden_states_of_equally_long_clips(flavour, size, num_samples, record_property):
    ours, theirs = pair(flavour, size)
    x = waveforms(num_samples, num_samples)
    with torch.no_grad():
        difference = largest_difference(ours(x).hidden_states, theirs(x, output_hidden_states=True).hidden_states)
    record_property("largest_difference", difference)
    assert difference < TOLERANCE


@pytest.mark.parametrize("flavour", [HUBERT, DATA2VEC], ids=["hubert", "data2vec"])
@pytest.mark.parametrize("lengths", [(16_000, 9_000), (8_000, 400, 7_999), (20_000, 20_000, 1_360)])
def test_hidden_states_of_padded_clips(flavour, lengths, record_property):
    ours, theirs = pair(flavour, SIZES[0])
    x = waveforms(*lengths)
    attention_mask = (torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]).long()
    with torch.no_grad():
        mine = ours(x, num_samples=torch.tensor(lengths)).hidden_states
        reference = theirs(x, attention_mask=attention_mask, output_hidden_states=True).hidden_states
    difference = largest_difference(mine, reference)
    record_property("largest_difference", difference)
    assert difference < TOLERANCE
    with torch.no_grad():  # and the padding is not simply ignored by both
        assert largest_difference(ours(x).hidden_states[-1:], mine[-1:]) > 100 * TOLERANCE


@pytest.mark.parametrize("flavour", [HUBERT, DATA2VEC], ids=["hubert", "data2vec"])
def test_gradients(flavour, record_property):
    ours, theirs = pair(flavour, SIZES[0])
    x = waveforms(12_000, 9_000)
    attention_mask = (torch.arange(x.shape[1]) < torch.tensor([12_000, 9_000])[:, None]).long()
    weights = torch.randn(2, 37, 96, generator=torch.Generator().manual_seed(3))
    mine = ours(x, num_samples=torch.tensor([12_000, 9_000])).hidden_states
    reference = theirs(x, attention_mask=attention_mask, output_hidden_states=True).hidden_states
    for states in (mine, reference):
        sum((state * weights).mean() for state in states).backward()
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert set(expected) == {name for name, p in ours.named_parameters() if p.grad is not None}
    differences = {name: float((ours.get_parameter(name).grad - g).abs().max()) for name, g in expected.items()}
    record_property("largest_difference", max(differences.values()))
    for name, difference in differences.items():
        # A key's bias adds the same to all scores of a query: its gradient is 0 but for rounding, hence the 1e-8.
        assert difference < 10 * TOLERANCE * float(expected[name].abs().max()) + 1e-8, name
