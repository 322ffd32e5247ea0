"""What is exported is what transformers computes, and says where it came from."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from ray_musicssl import cli
from ray_musicssl.clustering.codebook import Codebook, FitRecord, load_codebook
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.hub import export as module
from ray_musicssl.hub.export import convert, export_huggingface
from ray_musicssl.hub.hf_config import config_json
from ray_musicssl.hub.importer import import_encoder
from ray_musicssl.probing.embed import load_encoder
from ray_musicssl.training.checkpoint import open_checkpoint

pytestmark = pytest.mark.slow  # transformers takes seconds to import

KINDS = {
    "group": ("HubertModel", []),
    "layer": ("HubertModel", ["encoder.conv_norm=layer", "encoder.normalize_waveform=true"]),
    "odd kernel": ("HubertModel", ["encoder.pos_conv_kernel=15", "encoder.pos_conv_groups=4"]),
    "stacked": (
        "Data2VecAudioModel",
        [
            *("encoder.conv_norm=layer", "encoder.pos_conv_depth=3", "encoder.pos_conv_kernel=7"),
            *("encoder.normalize_waveform=true", "encoder.input_dropout=0.2", "encoder.layerdrop=0.3"),
        ],
    ),
}
FILES = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md", "provenance.json"}


def codebook(seed=0):
    record = FitRecord(
        parent="x", clustering=ClusteringConfig(num_clusters=4), num_frames=9, inertia=(1.0,), usage=(9, 0, 0, 0)
    )
    return Codebook(np.random.default_rng(seed).normal(size=(4, 39)).astype(np.float32), MfccConfig(), 100.0, record)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_gives_the_hidden_states_of_the_run(make_checkpoint, tmp_path, states, audio, kind):
    import transformers

    name, overrides = KINDS[kind]
    checkpoint = make_checkpoint(*overrides)
    folder = export_huggingface(checkpoint, tmp_path / "hf")
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(transformers.AutoModel.from_pretrained(folder)) is type(model)
    encoder = import_encoder(checkpoint)
    torch.testing.assert_close(states(model, audio), states(encoder, audio), atol=1e-5, rtol=0)
    assert torch.equal(model.masked_spec_embed, encoder.masked_spec_embed)
    config = encoder.config
    assert model.config.conv_pos_batch_norm is False
    assert (model.config.hidden_dropout, model.config.layerdrop) == (config.dropout, config.layerdrop)
    assert (model.config.feat_proj_dropout, model.config.model_type) == (
        config.input_dropout,
        "data2vec-audio" if kind == "stacked" else "hubert",
    )
    prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
    assert (prepare.do_normalize, prepare.sampling_rate) == (config.normalize_waveform, 16_000)
    assert prepare.return_attention_mask is (config.conv_norm == "layer")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_exported_is_imported_with_the_same_bits_and_settings(make_checkpoint, tmp_path, kind):
    checkpoint = make_checkpoint(*KINDS[kind][1])
    before = import_encoder(checkpoint)
    after = import_encoder(export_huggingface(checkpoint, tmp_path / "hf"))
    assert before.state_dict().keys() == after.state_dict().keys()
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    grad = {"feature_grad_mult"}  # of training alone: no file of transformers holds it
    assert before.config.model_dump(exclude=grad) == after.config.model_dump(exclude=grad)


def test_a_stem_with_group_norm_under_stacked_convolutions_is_refused_with_the_remedy(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint(
        *("objective.top_k=2", "encoder.conv_norm=group", "encoder.pos_conv_depth=5"), preset="music2vec-demo"
    )
    with pytest.raises(ConfigError, match=r"conv_norm=group with encoder\.pos_conv_depth=5.*To export, train with"):
        export_huggingface(checkpoint, tmp_path / "hf")
    assert list(tmp_path.iterdir()) == []
    assert load_encoder(checkpoint).embed(np.ones(800, np.float32), 16_000).shape == (3, 2, 32)


def test_the_files_say_what_was_trained_on_what(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint(labels=("abcd",))
    folder = export_huggingface(open_checkpoint(checkpoint), tmp_path / "hf")
    assert {path.name for path in folder.iterdir()} == FILES
    provenance = json.loads((folder / "provenance.json").read_text())
    source = provenance["source"]
    assert (source["run"], source["step"], source["data"]) == (
        "my-run",
        12,
        {"shards": "feedfeedfeedfeed", "labels": ["abcd"]},
    )
    assert source["checkpoint_sha256"] == open_checkpoint(checkpoint).content_hash
    assert provenance["config"]["preset"] == "musichubert-demo"
    assert {"torch", "ray_musicssl"} <= provenance["trained_with"].keys() & provenance["written_with"].keys()
    assert str(tmp_path) not in "".join(path.read_text() for path in folder.iterdir() if path.suffix != ".safetensors")
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert "encoder.pos_conv_embed.conv.weight_g" in load_file(folder / "model.safetensors")


def test_the_card_is_one_that_hubs_read_and_people_understand(make_checkpoint, tmp_path):
    joint = make_checkpoint("joint_features=[{name: semitone}]")
    card = (export_huggingface(joint, tmp_path / "hf") / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    for words in (
        *("# my-run", "MusicHuBERT", "preset `musichubert-demo`", "12 of 50 steps", "0.0333 hours", "middle"),
        *(
            "clusters of cqt (k=7), semitone (k=7)",
            "HubertModel.from_pretrained",
            "load_encoder",
            "feedfeedfeedfeed",
        ),
        *("2 layers of width 32", "without padding", "nothing above 8 kHz"),
    ):
        assert words in body, words


def test_the_codebooks_of_the_run_go_along_and_others_are_refused(make_checkpoint, tmp_path):
    books = [codebook(0), codebook(1)]
    for number, book in enumerate([*books, codebook(2)]):
        book.save(tmp_path / str(number))
    checkpoint = make_checkpoint(labels=tuple(book.hash for book in books))
    one = export_huggingface(checkpoint, tmp_path / "one", codebooks=[tmp_path / "0"])
    assert load_codebook(one / "codebook").hash == books[0].hash
    both = export_huggingface(checkpoint, tmp_path / "both", codebooks=[tmp_path / "0", tmp_path / "1"])
    assert {load_codebook(path).hash for path in (both / "codebook").iterdir()} == {book.hash for book in books}
    with pytest.raises(DataError, match=rf"the codebook at .*2 is {codebook(2).hash}, but the run was trained with"):
        export_huggingface(checkpoint, tmp_path / "none", codebooks=[tmp_path / "2"])
    assert not (tmp_path / "none").exists()


def test_a_second_export_gives_the_same_bytes_and_replaces_only_an_export(make_checkpoint, tmp_path):
    checkpoint, folder = make_checkpoint(), tmp_path / "hf"
    first = contents(export_huggingface(checkpoint, folder))
    assert contents(export_huggingface(checkpoint, folder)) == first
    (folder / "scores").mkdir()
    with pytest.raises(ConfigError, match=r"holds what no export wrote \(scores\)"):
        export_huggingface(checkpoint, folder)
    assert contents(folder) == first
    for name, inside in (("foreign", {"model.safetensors": b"x"}), ("empty", {})):
        (tmp_path / name).mkdir()
        for file, data in inside.items():
            (tmp_path / name / file).write_bytes(data)
    with pytest.raises(ConfigError, match=r"no export wrote \(model\.safetensors\)"):
        export_huggingface(checkpoint, tmp_path / "foreign")
    assert contents(export_huggingface(checkpoint, tmp_path / "empty")).keys() == first.keys()
    assert {path.name for path in tmp_path.iterdir()} == {"hf", "foreign", "empty"}


def test_a_broken_export_leaves_what_was_there(make_checkpoint, tmp_path, monkeypatch):
    checkpoint, folder = make_checkpoint(), tmp_path / "hf"
    first = contents(export_huggingface(checkpoint, folder))

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(module, "model_card", fail)
    with pytest.raises(OSError, match="disk full"):
        export_huggingface(checkpoint, folder)
    assert contents(folder) == first
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_an_import_writes_the_same_form_as_an_export(tmp_path, reference, states, audio):
    model = reference("data2vec")
    model.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "model.safetensors").unlink()
    torch.save(model.state_dict() | {"lm_head.bias": torch.ones(2)}, tmp_path / "theirs" / "pytorch_model.bin")
    opened = convert(tmp_path / "theirs", tmp_path / "ours", allow_legacy=True)
    assert {path.name for path in (tmp_path / "ours").iterdir()} == FILES
    torch.testing.assert_close(states(type(model).from_pretrained(tmp_path / "ours"), audio), states(model, audio))
    source = json.loads((tmp_path / "ours" / "provenance.json").read_text())["source"]
    assert (source["form"], source["dropped"]) == ("huggingface", ["lm_head.bias"])
    assert source["files"] == dict(opened.files)
    assert "licence" in (tmp_path / "ours" / "README.md").read_text()


def test_every_size_that_can_be_exported_is_read_back_from_its_json():
    for norm, depth, kernel in (("group", 1, 128), ("layer", 1, 31), ("layer", 5, 19)):
        config = EncoderConfig(conv_norm=norm, pos_conv_depth=depth, pos_conv_kernel=kernel, num_heads=6, ffn_dim=99)
        values = json.loads(json.dumps(config_json(config)))
        assert values["conv_pos_batch_norm"] is False
        assert (values["num_attention_heads"], values["intermediate_size"]) == (6, 99)


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_the_commands_export_and_import_say_what_they_did(make_checkpoint, tmp_path, reference, capsys):
    book = codebook()
    book.save(tmp_path / "book")
    run_dir = make_checkpoint(labels=(book.hash,)).parent.parent
    code, out, _ = run(capsys, "export", run_dir, "--out", tmp_path / "hf", "--codebook", tmp_path / "book")
    assert (code, out.splitlines()[-1]) == (0, f"-> {tmp_path / 'hf'}")
    assert load_file(tmp_path / "hf" / "codebook" / "centroids.safetensors")["centroids"].shape == (4, 39)
    torch.save(
        {name.replace("encoder.", "encoder.transformer.").replace("feature_projection", "encoder.feature_projection"): t
         for name, t in reference("hubert").state_dict().items() if name != "masked_spec_embed"},
        tmp_path / "x.pt",
    )  # fmt: skip
    code, _, err = run(capsys, "import", tmp_path / "x.pt", "--out", tmp_path / "ours")
    assert code == 2
    assert "--allow-legacy" in err
    code, out, _ = run(capsys, "import", tmp_path / "x.pt", "--out", tmp_path / "ours", "--allow-legacy")
    assert code == 0
    assert "torchaudio encoder x: 2 layers of 32" in out
    assert "assumed, because the file does not say: 1 heads of 64" in out
    assert load_encoder(tmp_path / "ours").num_layers == 3
    (tmp_path / "evil.pt").write_bytes(b"\x80\x02cposix\nsystem\nU\x04trueq\x00\x85R." * 5)
    code, _, err = run(capsys, "import", tmp_path / "evil.pt", "--out", tmp_path / "evil", "--allow-legacy")
    assert code == 3
    assert "asks for posix.system" in err
