"""Where the scores of what a user names go."""

from pathlib import Path

import pytest
import torch
import transformers

from ray_musicssl.probing.baselines import MfccFeatures
from ray_musicssl.probing.sources import describe, open_features, scores_home

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
