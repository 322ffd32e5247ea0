"""Encoders from elsewhere give the hidden states of the models they were."""

import argparse
import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.hub.importer import import_encoder, open_encoder
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.probing.embed import load_encoder

FLAVOURS = ["hubert", "hubert-odd-kernel", "hubert-layer-norm", "wav2vec2", "data2vec"]
TOLERANCE = 1e-5


def edit_json(path, **changes):
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


def old_names(state):
    replace = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, old in replace.items():
        state = {name.replace(new, old): tensor.contiguous() for name, tensor in state.items()}
    return state


def fairseq_state(model):
    """A state of transformers as fairseq would have named it."""
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


@pytest.fixture
def folder(tmp_path, reference):
    """Writes a model of transformers: `folder("hubert")`."""

    def write(flavour):
        reference(flavour).save_pretrained(tmp_path / flavour)
        return tmp_path / flavour

    return write


def assert_same(states, encoder, model, audio):
    found, expected = states(encoder, audio), states(model, audio)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hugging_face_folder_gives_its_hidden_states(folder, reference, states, audio, flavour):
    assert_same(states, import_encoder(folder(flavour)), reference(flavour), audio)


@pytest.mark.parametrize("flavour", ["hubert", "data2vec"])
@pytest.mark.parametrize("is_old", [True, False])
def test_so_does_a_folder_with_pickled_weights_under_old_and_new_names(
    folder, reference, states, audio, flavour, is_old
):
    path, model = folder(flavour), reference(flavour)
    (path / "model.safetensors").unlink()
    torch.save(old_names(model.state_dict()) if is_old else model.state_dict(), path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="--allow-legacy"):
        import_encoder(path)
    assert_same(states, import_encoder(path, allow_legacy=True), model, audio)


def test_so_does_a_safetensors_file_with_old_names(folder, reference, states, audio):
    path = folder("hubert")
    save_file(old_names(load_file(path / "model.safetensors")), path / "model.safetensors")
    assert any("weight_g" in name for name in load_file(path / "model.safetensors"))
    assert_same(states, import_encoder(path), reference("hubert"), audio)


def test_so_do_weights_in_several_files(tmp_path, reference, states, audio):
    reference("data2vec").save_pretrained(tmp_path / "x", max_shard_size="20KB")
    assert len(list((tmp_path / "x").glob("model-*.safetensors"))) > 1
    assert_same(states, import_encoder(tmp_path / "x"), reference("data2vec"), audio)


@pytest.mark.parametrize("name", ["../model.safetensors", "absent.safetensors", "/etc/passwd"])
def test_an_index_cannot_name_files_elsewhere(folder, name):
    path = folder("hubert")
    (path / "model.safetensors").rename(path.parent / "model.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(DataError, match=re.escape(name)):
        import_encoder(path)


def test_a_model_with_a_task_head_gives_the_encoder_under_it(tmp_path, reference, states, audio):
    import transformers

    model = reference("hubert")
    whole = transformers.HubertForCTC(model.config)
    whole.hubert.load_state_dict(model.state_dict())
    whole.save_pretrained(tmp_path / "ctc")
    opened = open_encoder(tmp_path / "ctc")
    assert set(opened.dropped) == {"lm_head.weight", "lm_head.bias"}
    assert_same(states, opened.model, model, audio)


@pytest.mark.parametrize("flavour", ["hubert", "data2vec"])
@pytest.mark.parametrize("form", ["cfg", "args", "none"])
def test_a_fairseq_file_gives_its_hidden_states(tmp_path, reference, states, audio, flavour, form):
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
def test_a_fairseq_file_of_another_network_is_refused_by_the_settings_name(tmp_path, reference, section, field, value):
    cfg = {name: dict(values) for name, values in CFG.items()}
    cfg[section][field] = value
    torch.save({"model": fairseq_state(reference("hubert")), "cfg": cfg}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=f"trained with {field}="):
        import_encoder(tmp_path / "x.pt", allow_legacy=True)


def test_a_large_model_without_settings_is_not_guessed(tmp_path, reference):
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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("do_stable_layer_norm", True),
        ("conv_bias", True),
        ("conv_pos_batch_norm", True),
        ("feat_proj_layer_norm", False),
        ("hidden_act", "relu"),
        ("feat_extract_activation", "relu"),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 1]),
        ("conv_kernel", [10, 3, 3, 3, 3, 2]),
        ("layer_norm_eps", 1e-6),
        ("conv_dim", [16, 16, 16, 16, 16, 16, 8]),
        ("model_type", "wavlm"),
    ],
)
def test_a_folder_of_another_network_is_refused_by_the_fields_name(folder, field, value):
    path = folder("hubert")
    edit_json(path / "config.json", **{field: value})
    with pytest.raises(DataError, match=rf"config\.json has {field}="):
        import_encoder(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 3}, r"missing: encoder\.layers\.2\.attention\.k_proj\.bias"),
        ({"num_hidden_layers": 1}, r"unknown: encoder\.layers\.1"),
        ({"intermediate_size": 47}, r"another shape: .*intermediate_dense\.bias \[48\] instead of \[47\]"),
        ({"num_conv_pos_embeddings": 31}, r"another shape: .*original0 \[1, 1, 32\] instead of \[1, 1, 31\]"),
        ({"hidden_size": None}, "lacks a size of the encoder: 'hidden_size'"),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_with_the_tensors(folder, change, message):
    path = folder("hubert")
    edit_json(path / "config.json", **change)
    with pytest.raises(DataError, match=message):
        import_encoder(path)


def test_a_number_of_heads_that_cannot_be_is_refused(folder):
    path = folder("hubert")
    edit_json(path / "config.json", num_attention_heads=5)
    with pytest.raises(ConfigError, match="dim=32 must be a multiple of num_heads=5"):
        import_encoder(path)


def test_a_tensor_too_many_or_of_whole_numbers_is_refused(folder):
    path = folder("hubert")
    state = load_file(path / "model.safetensors")
    save_file(state | {"encoder.adapter.weight": torch.ones(2)}, path / "model.safetensors")
    with pytest.raises(DataError, match=r"unknown: encoder\.adapter\.weight"):
        import_encoder(path)
    save_file(state | {"encoder.layer_norm.bias": torch.ones(32, dtype=torch.int64)}, path / "model.safetensors")
    with pytest.raises(DataError, match=r"encoder\.layer_norm\.bias \(no floating-point tensor\)"):
        import_encoder(path)


def test_half_precision_weights_become_single(folder, reference):
    path = folder("hubert")
    state = {name: tensor.half() for name, tensor in reference("hubert").state_dict().items()}
    save_file(state, path / "model.safetensors")
    found = import_encoder(path).state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert torch.equal(found["encoder.layer_norm.weight"], state["encoder.layer_norm.weight"].float())


def test_the_mask_vector_may_be_absent_only_where_the_config_says_so(folder):
    path = folder("hubert")
    state = load_file(path / "model.safetensors")
    del state["masked_spec_embed"]
    save_file(state, path / "model.safetensors")
    with pytest.raises(DataError, match="missing: masked_spec_embed"):
        import_encoder(path)
    edit_json(path / "config.json", mask_time_prob=0.0)
    one, again = import_encoder(path), import_encoder(path)
    assert torch.equal(one.masked_spec_embed, again.masked_spec_embed)
    assert ((one.masked_spec_embed >= 0) & (one.masked_spec_embed < 1)).all()


@pytest.mark.parametrize(("flavour", "is_layer"), [("hubert", False), ("hubert-layer-norm", True), ("data2vec", True)])
def test_normalisation_follows_the_preprocessor_and_else_the_stem(folder, flavour, is_layer):
    path = folder(flavour)
    config = import_encoder(path).config
    assert config.normalize_waveform is is_layer
    assert config.feature_grad_mult == (1.0 if is_layer else 0.1)
    (path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": not is_layer}))
    assert import_encoder(path).config.normalize_waveform is not is_layer
    (path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 24_000}))
    with pytest.raises(DataError, match="sampling_rate=24000"):
        import_encoder(path)


def test_a_run_gives_its_encoder(make_checkpoint, states, audio):
    checkpoint = make_checkpoint()
    run_dir = checkpoint.parent.parent
    tensors = load_file(checkpoint / "model.safetensors")
    expected = MusicEncoder(import_encoder(run_dir).config)
    expected.load_state_dict({name[8:]: tensor for name, tensor in tensors.items() if name.startswith("encoder.")})
    for path in (checkpoint, run_dir):
        assert torch.equal(states(import_encoder(path), audio), states(expected, audio))


def test_an_imported_encoder_can_be_trained(folder):
    encoder = import_encoder(folder("hubert"))
    encoder(torch.randn(1, 4000)).hidden_states[-1].square().mean().backward()
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.encoder.layers[0].layer_norm.weight.grad.abs().max() > 0


def test_a_folder_is_embedded_like_a_run_and_known_by_its_weights_and_settings(folder, reference, states):
    path = folder("data2vec")
    encoder = load_encoder(path)
    waveform = torch.randn(16_000, generator=torch.Generator().manual_seed(2))
    normalised = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-5).sqrt()
    expected = states(reference("data2vec"), normalised[None])[:, 0]
    torch.testing.assert_close(torch.from_numpy(encoder.embed(waveform.numpy(), 16_000)), expected, atol=1e-5, rtol=0)
    assert (encoder.name, load_encoder(path).content_hash) == ("data2vec", encoder.content_hash)
    (path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    assert load_encoder(path).content_hash != encoder.content_hash


def test_a_lone_file_of_a_folder_sends_to_the_folder(folder):
    with pytest.raises(DataError, match=r"give the folder that holds it and config\.json"):
        import_encoder(folder("hubert") / "model.safetensors")


def test_a_folder_without_weights_or_with_damaged_ones_is_refused(folder):
    path = folder("hubert")
    (path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        import_encoder(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="but no weights"):
        import_encoder(path)
    (path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json cannot be read as JSON"):
        import_encoder(path)


def test_importing_leaves_torchs_random_state_alone(folder):
    path, before = folder("hubert"), torch.get_rng_state()
    import_encoder(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_published_sizes_are_the_defaults_of_the_two_kinds():
    """The sizes of HuBERT base and data2vec audio base, as transformers states them, give the published counts."""
    import transformers

    from ray_musicssl.hub.hf_config import config_json

    for config, name in (
        (EncoderConfig(), "HubertConfig"),
        (EncoderConfig(conv_norm="layer", pos_conv_depth=5, pos_conv_kernel=19), "Data2VecAudioConfig"),
    ):
        defaults = getattr(transformers, name)().to_dict()
        ours = config_json(config)
        differing = {key for key in ours if key in defaults and ours[key] != defaults[key] and key != "architectures"}
        assert differing <= {
            "activation_dropout",
            "layerdrop",
            "feat_proj_dropout",
            "conv_dim",
            "conv_kernel",
            "conv_stride",
        }
        assert list(defaults["conv_dim"]) == ours["conv_dim"]
        assert list(defaults["conv_kernel"]) == ours["conv_kernel"]
