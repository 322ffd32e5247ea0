"""Where the scores of what a user names go."""

from pathlib import Path

import pytest
import torch
import transformers

from ray_musicssl.errors import ConfigError
from ray_musicssl.probing.baselines import MfccFeatures
from ray_musicssl.probing.sources import Origin, check_homes, describe, open_features, scores_home

OUT = Path("baselines")


def test_a_run_keeps_its_scores_itself(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert scores_home(str(tmp_path / "run"), OUT) == tmp_path / "run"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("mfcc", "mfcc"),
        ("mfcc+semitone", "mfcc+semitone"),
        ("random:work/runs/a", "random-work-runs-a"),
        ("random:../a", "random-..-a"),
        ("run/checkpoints/step-00000005", "run-checkpoints-step-00000005"),
        ("/somewhere/ck/final", "somewhere-ck-final"),
        ("../ck/final", "ck-final"),  # a name that begins with a dot would be hidden from the report
    ],
)
def test_all_else_gets_a_folder_of_its_own(spec, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run/checkpoints/step-00000005").mkdir(parents=True)
    assert scores_home(spec, OUT) == OUT / name


@pytest.mark.parametrize(
    ("spec", "name"), [(".", "here"), ("./", "here"), ("..", "above"), ("random:.", "random-here")]
)
def test_a_folder_without_a_name_in_what_was_typed_is_called_what_it_is_called(spec, name, tmp_path, monkeypatch):
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert scores_home(spec, OUT) == OUT / name


def test_two_encoders_with_one_place_for_their_scores_are_refused():
    specs = ["../hf/x", "mfcc", "hf-x"]
    with pytest.raises(ConfigError, match=r'"../hf/x" and "hf-x" would both go to baselines/hf-x/scores'):
        check_homes(specs, [scores_home(spec, OUT) for spec in specs])
    check_homes(specs[:2], [scores_home(spec, OUT) for spec in specs[:2]])
    check_homes(["mfcc", "mfcc"], [OUT, OUT])


def test_a_run_its_untrained_twin_and_hand_made_features_say_what_they_are(tiny, whole_run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(whole_run_dir.parent)
    run, twin, hand_made = (describe(spec).origin for spec in (whole_run_dir.name, f"random:{whole_run_dir}", "mfcc"))
    assert run == Origin(kind="trained", path=str(whole_run_dir.resolve()), seed=1337)
    assert twin == Origin(kind="untrained", path=run.path, seed=run.seed)
    assert hand_made == Origin(kind="baseline", path=None, seed=None)
    tiny.train(tmp_path / "later", "training.max_steps=1", f"init_from={whole_run_dir}")
    assert describe(str(tmp_path / "later")).origin.seed is None  # it began with weights, not with a seed


def test_a_folder_does_not_take_the_place_of_the_baseline_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mfcc/checkpoints").mkdir(parents=True)
    assert scores_home("mfcc", OUT) == OUT / "mfcc"
    assert isinstance(open_features("mfcc"), MfccFeatures)


def test_the_twin_of_an_imported_folder_has_its_architecture_and_fresh_weights(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    conv = {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 8}
    transformers.HubertModel(transformers.HubertConfig(**sizes, **conv)).save_pretrained(tmp_path / "hubert")
    folder, twin = (open_features(f"{prefix}{tmp_path / 'hubert'}") for prefix in ("", "random:"))
    assert (folder.name, twin.name) == ("hubert", "random:hubert")
    shapes, again = ({n: p.shape for n, p in each.model.named_parameters()} for each in (folder, twin))
    assert shapes == again
    weights = dict(folder.model.named_parameters())
    matrices = {n: p for n, p in twin.model.named_parameters() if p.ndim > 1}
    assert all(not torch.equal(weights[name], matrix) for name, matrix in matrices.items())
    assert describe(f"random:{tmp_path / 'hubert'}").content_hash == twin.content_hash != folder.content_hash
    assert (twin.num_layers, twin.dim) == (3, 32)
    assert (folder.seed, twin.seed) == (None, 0)
