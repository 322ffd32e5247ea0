"""Names of other projects: every one is known, translated whole, or reported."""

import pytest

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.errors import DataError
from ray_musicssl.hub.names import FAIRSEQ, HUGGINGFACE, TORCHAUDIO, detect_layout, huggingface_name, listed, rename
from ray_musicssl.models.encoder import MusicEncoder

TINY = {"num_layers": 2, "dim": 32, "num_heads": 2, "ffn_dim": 48, "conv_dim": 16}


@pytest.fixture(scope="module", params=[1, 3])
def our_names(request):
    norm = "group" if request.param == 1 else "layer"
    return list(MusicEncoder(EncoderConfig(**TINY, conv_norm=norm, pos_conv_depth=request.param)).state_dict())


def test_our_own_names_are_hugging_faces(our_names):
    assert dict(rename(our_names, HUGGINGFACE, "x").kept) == {name: name for name in our_names}


def test_written_names_are_read_back(our_names):
    written = [huggingface_name(name) for name in our_names]
    assert not any("parametrizations" in name for name in written)
    assert list(rename(written, HUGGINGFACE, "x").kept) == our_names


@pytest.mark.parametrize("prefix", ["hubert.", "data2vec_audio.", "wav2vec2."])
def test_names_of_models_with_a_task_head_are_read_and_the_head_dropped(our_names, prefix):
    heads = ["lm_head.weight", "classifier.bias", "projector.weight", "layer_weights", "quantizer.codevectors"]
    heads += ["tdnn.0.kernel.weight", "objective.weight", "feature_extractor.weight", "project_q.weight"]
    renaming = rename([prefix + name for name in our_names] + heads, HUGGINGFACE, "x")
    assert dict(renaming.kept) == {name: prefix + name for name in our_names}
    assert list(renaming.dropped) == heads


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("layer_norm.weight", "feature_projection.layer_norm.weight"),
        ("encoder.layer_norm.weight", "encoder.layer_norm.weight"),
        ("encoder.layers.1.self_attn_layer_norm.weight", "encoder.layers.1.layer_norm.weight"),
        ("encoder.layers.1.final_layer_norm.weight", "encoder.layers.1.final_layer_norm.weight"),
        ("feature_extractor.conv_layers.0.2.weight", "feature_extractor.conv_layers.0.layer_norm.weight"),
        ("feature_extractor.conv_layers.4.2.1.bias", "feature_extractor.conv_layers.4.layer_norm.bias"),
        ("encoder.layers.11.self_attn.out_proj.bias", "encoder.layers.11.attention.out_proj.bias"),
        ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
        ("encoder.pos_conv.4.0.weight", "encoder.pos_conv_embed.layers.4.conv.weight"),
        ("mask_emb", "masked_spec_embed"),
    ],
)
def test_fairseqs_names_are_matched_whole(theirs, ours):
    assert dict(rename([theirs], FAIRSEQ, "x").kept) == {ours: theirs}


@pytest.mark.parametrize(
    "name", ["final_proj.weight", "final_proj.0.bias", "label_embs_concat", "_ema", "_ema.x.weight"]
)
def test_what_only_fairseqs_training_needs_is_dropped(name):
    assert rename([name], FAIRSEQ, "x").dropped == (name,)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("encoder.layers.0.feed_forward.adapter.weight", HUGGINGFACE),
        ("feature_extractor.conv_layers.0.conv.bias", HUGGINGFACE),
        ("encoder.pos_conv_embed.batch_norm.weight", HUGGINGFACE),
        ("hubert.hubert.encoder.layer_norm.weight", HUGGINGFACE),
        ("feature_extractor.conv_layers.0.0.bias", FAIRSEQ),
        ("encoder.layers.0.attention.k_proj.weight", FAIRSEQ),
        ("decoder.layer_norm.weight", FAIRSEQ),
        ("encoder.layer_norm.weight", TORCHAUDIO),
        ("logit_generator.something", TORCHAUDIO),
    ],
)
def test_any_other_name_is_an_error_that_lists_it(name, layout):
    with pytest.raises(DataError, match=rf"x is not an encoder of this kind .*unknown: {name}"):
        rename([name], layout, "x")


def test_one_tensor_under_two_names_is_an_error():
    both = ["encoder.pos_conv_embed.conv.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"]
    with pytest.raises(DataError, match="under two names: encoder"):
        rename(both, HUGGINGFACE, "x")


def test_the_layout_is_known_by_a_name_that_no_other_has():
    heads = {
        "hubert.feature_projection.projection.weight": HUGGINGFACE,
        "feature_extractor.conv_layers.0.0.weight": FAIRSEQ,
        "wav2vec2.encoder.feature_projection.projection.weight": TORCHAUDIO,
        "encoder.feature_projection.projection.weight": TORCHAUDIO,
    }
    for name, layout in heads.items():
        assert detect_layout([name, "other"], "x") is layout
    with pytest.raises(DataError, match=r"known are torchaudio .*it has fc\.bias, fc\.weight"):
        detect_layout(["fc.weight", "fc.bias"], "x")


def test_long_lists_are_cut_and_counted():
    assert listed("bca") == "a, b, c"
    assert listed(f"n{number:02}" for number in range(20)).endswith("n07 and 12 more")
