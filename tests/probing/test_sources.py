"""Where the scores of what a user names go."""

from pathlib import Path

import pytest

from ray_musicssl.probing.baselines import MfccFeatures
from ray_musicssl.probing.sources import open_features, scores_home

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
