"""Encoders from the files of fairseq and torchaudio give the hidden states of the models they were."""

import argparse
import re

import pytest
import torch
from safetensors.torch import save_file

from ray_musicssl.errors import DataError
from ray_musicssl.hub.importer import import_encoder, open_encoder

pytestmark = pytest.mark.slow  # transformers takes seconds to import

TOLERANCE = 1e-5


@pytest.fixture
def fairseq_state(old_names):
    """Gives a state of transformers as fairseq would have named it."""

    def rename(model):
        is_layer = "feature_extractor.conv_layers.1.layer_norm.weight" in model.state_dict()
        changes = [
            (r"masked_spec_embed", "mask_emb"),
            (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
            (r"(conv_layers\.\d+)\.layer_norm\.", r"\1.2.1." if is_layer else r"\1.2."),
            (r"feature_projection\.layer_norm", "layer_norm"),
            (r"feature_projection\.projection", "post_extract_proj"),
            (r"pos_conv_embed\.layers\.(\d+)\.conv", r"pos_conv.\1.0"),
            (r"pos_conv_embed\.conv", "pos_conv.0"),
            (r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm"),
            (r"\.attention\.", ".self_attn."),
            (r"feed_forward\.intermediate_dense", "fc1"),
            (r"feed_forward\.output_dense", "fc2"),
        ]
        found = old_names(model.state_dict())
        for pattern, theirs in changes:
            found = {re.sub(pattern, theirs, name): tensor for name, tensor in found.items()}
        return found

    return rename


CFG = {
    "model": {
        "encoder_attention_heads": 4,
        "layer_norm_first": False,
        "activation_fn": "gelu",
        "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] + [(16,2,2)]",
        "feature_grad_mult": 0.5,
    },
    "task": {"normalize": True, "sample_rate": 16_000},
}


@pytest.mark.parametrize("flavour", ["hubert", "data2vec"])
@pytest.mark.parametrize("form", ["cfg", "args", "none"])
def test_a_fairseq_file_gives_its_hidden_states(
    fairseq_state, assert_same, tmp_path, reference, states, audio, flavour, form
):
    model = reference(flavour)
    held = {"model": fairseq_state(model) | {"final_proj.weight": torch.ones(3), "_ema": {"x": torch.ones(1)}}}
    if form == "cfg":
        held["cfg"] = CFG
    if form == "args":
        held["args"] = argparse.Namespace(**CFG["model"], normalize=True)
    path = tmp_path / "x.pt"
    torch.save(held, path)
    opened = open_encoder(path, allow_legacy=True)
    assert set(opened.dropped) == {"final_proj.weight", "_ema"}
    config = opened.model.config
    if form == "none":  # 32 channels are no multiple of 64: one head, and it says so
        assert config.num_heads == 1
        assert opened.assumed == ("norms after each block", "1 heads of 64")
        assert config.normalize_waveform == (flavour == "data2vec")
    else:
        assert opened.assumed == ()
        assert (config.num_heads, config.normalize_waveform, config.feature_grad_mult) == (4, True, 0.5)
        assert_same(states, opened.model, model, audio)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("model", "layer_norm_first", True),
        ("model", "activation_fn", "relu"),
        ("task", "sample_rate", 8_000),
        ("model", "conv_feature_layers", "[(16,10,4)] + [(16,3,2)] * 4 + [(16,2,2)] * 2"),
        ("model", "conv_feature_layers", "__import__('os').system('true')"),
    ],
)
def test_a_fairseq_file_of_another_network_is_refused_by_the_settings_name(
    fairseq_state, tmp_path, reference, section, field, value
):
    cfg = {name: dict(values) for name, values in CFG.items()}
    cfg[section][field] = value
    torch.save({"model": fairseq_state(reference("hubert")), "cfg": cfg}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=f"trained with {field}="):
        import_encoder(tmp_path / "x.pt", allow_legacy=True)


def test_a_large_model_without_settings_is_not_guessed(fairseq_state, tmp_path, reference):
    torch.save({"model": fairseq_state(reference("hubert-layer-norm"))}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="pre-norm"):
        import_encoder(tmp_path / "x.pt", allow_legacy=True)


@pytest.fixture(scope="module")
def torchaudio_model():
    from torchaudio.models import hubert_pretrain_model

    words = dict.fromkeys(("encoder_projection_dropout", "encoder_attention_dropout", "encoder_ff_interm_dropout"), 0.0)
    words |= dict.fromkeys(("encoder_dropout", "encoder_layer_drop", "mask_other", "mask_channel_other"), 0.0)
    words |= dict.fromkeys(("mask_selection", "mask_channel_selection"), "static")
    words |= dict.fromkeys(("no_mask_overlap", "no_mask_channel_overlap", "skip_masked", "skip_nomask"), False)
    words |= {"extractor_mode": "group_norm", "extractor_conv_bias": False, "encoder_layer_norm_first": False}
    words |= {"extractor_conv_layer_config": [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2}
    words |= {"encoder_embed_dim": 128, "encoder_num_layers": 2, "encoder_num_heads": 2}
    words |= {"encoder_ff_interm_features": 48, "encoder_pos_conv_kernel": 32, "encoder_pos_conv_groups": 8}
    words |= {"mask_prob": 0.8, "mask_length": 10, "mask_min_space": 1, "mask_channel_prob": 0.0}
    words |= {
        "mask_channel_length": 10,
        "mask_channel_min_space": 1,
        "num_classes": 5,
        "final_dim": 8,
        "feature_grad_mult": 0.1,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return hubert_pretrain_model(**words).eval()


@pytest.mark.parametrize("is_pretraining", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_torchaudio_state_gives_its_hidden_states(tmp_path, torchaudio_model, states, audio, is_pretraining, suffix):
    source = torchaudio_model if is_pretraining else torchaudio_model.wav2vec2
    path = tmp_path / f"x{suffix}"
    (torch.save if suffix == ".pt" else save_file)(source.state_dict(), path)
    opened = open_encoder(path, allow_legacy=True)
    assert opened.origin == "torchaudio"
    assert (opened.model.config.num_heads, opened.assumed[1]) == (2, "2 heads of 64")
    with torch.inference_mode():
        expected = torchaudio_model.wav2vec2.extract_features(audio)[0]
    torch.testing.assert_close(states(opened.model, audio)[1:], torch.stack(expected), atol=TOLERANCE, rtol=0)
    if is_pretraining:
        assert torch.equal(opened.model.masked_spec_embed, torchaudio_model.mask_generator.mask_embedding)
