"""Encoders from elsewhere give the hidden states of the models they were."""

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

pytestmark = pytest.mark.slow  # transformers takes seconds to import

FLAVOURS = ["hubert", "hubert-odd-kernel", "hubert-layer-norm", "wav2vec2", "data2vec"]
TOLERANCE = 1e-5


def edit_json(path, **changes):
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


@pytest.fixture
def folder(tmp_path, reference):
    """Writes a model of transformers: `folder("hubert")`."""

    def write(flavour):
        reference(flavour).save_pretrained(tmp_path / flavour)
        return tmp_path / flavour

    return write


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hugging_face_folder_gives_its_hidden_states(assert_same, folder, reference, states, audio, flavour):
    assert_same(states, import_encoder(folder(flavour)), reference(flavour), audio)


@pytest.mark.parametrize("flavour", ["hubert", "data2vec"])
@pytest.mark.parametrize("is_old", [True, False])
def test_so_does_a_folder_with_pickled_weights_under_old_and_new_names(
    old_names, assert_same, folder, reference, states, audio, flavour, is_old
):
    path, model = folder(flavour), reference(flavour)
    (path / "model.safetensors").unlink()
    torch.save(old_names(model.state_dict()) if is_old else model.state_dict(), path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="--allow-legacy"):
        import_encoder(path)
    assert_same(states, import_encoder(path, allow_legacy=True), model, audio)


def test_so_does_a_safetensors_file_with_old_names(old_names, assert_same, folder, reference, states, audio):
    path = folder("hubert")
    save_file(old_names(load_file(path / "model.safetensors")), path / "model.safetensors")
    assert any("weight_g" in name for name in load_file(path / "model.safetensors"))
    assert_same(states, import_encoder(path), reference("hubert"), audio)


def test_so_do_weights_in_several_files(assert_same, tmp_path, reference, states, audio):
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


def test_a_model_with_a_task_head_gives_the_encoder_under_it(assert_same, tmp_path, reference, states, audio):
    import transformers

    model = reference("hubert")
    whole = transformers.HubertForCTC(model.config)
    whole.hubert.load_state_dict(model.state_dict())
    whole.save_pretrained(tmp_path / "ctc")
    opened = open_encoder(tmp_path / "ctc")
    assert set(opened.dropped) == {"lm_head.weight", "lm_head.bias"}
    assert_same(states, opened.model, model, audio)


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
