"""A search that goes on, without Optuna: which trials count, and which are refused."""

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from ray_musicssl.errors import EnvironmentFaultError, ResumeRefusedError
from ray_musicssl.on_ray import search as module
from ray_musicssl.on_ray import tune as tune_module
from ray_musicssl.on_ray.sweep import Sweep
from ray_musicssl.search_space.records import new_record
from ray_musicssl.search_space.space import load_space
from ray_musicssl.sweep_dir import SweepDir

AXES = "axes: {optim.peak_lr: {loguniform: [1.0e-4, 1.0e-3]}}\n"
RATES = (0.0002, 0.0004, 0.0006)


@pytest.fixture
def searched(tiny, tmp_path, monkeypatch):
    """Plans a search of three trials: `searched(steps=7)`; `.wave(sweep)` gives what Optuna would be told."""
    monkeypatch.setattr(module, "Wave", lambda *_, suggestions, **__: suggestions)
    example = SimpleNamespace(config=tiny.config())
    monkeypatch.setattr(Sweep, "job_of", lambda *_: example)

    def plan(*, steps=7, axes=AXES, data="data"):
        path = tmp_path / "lr.yaml"
        lines = f"about: x\npreset: music2vec-demo\noverrides: {{training.max_steps: {steps}}}\n{axes}"
        path.write_text(f"{lines}samples: 3\ntasks: [gtzan_genre]\nsearch: optuna\n")
        return Sweep.planned(load_space(path), SweepDir(tmp_path / "sweep"), tiny.shards, tmp_path / data)

    return plan


def begin(sweep, rate, **facts):
    trial = sweep.space.suggested({"optim.peak_lr": rate})
    sweep.keep(replace(new_record(trial, trial.point, sweep.judged_by), **facts))


def test_what_ended_is_told_and_what_was_begun_comes_first(searched):
    sweep = searched()
    begin(sweep, RATES[0], status="done", score=0.5)
    begin(sweep, RATES[1], status="running")
    told = module.search_wave(searched())
    assert (told.known, told.first, told.count) == (
        [({"optim.peak_lr": RATES[0]}, 0.5)],
        [{"optim.peak_lr": RATES[1]}],
        2,
    )


def test_a_score_on_other_data_is_not_told_and_its_trial_is_judged_again(searched):
    begin(searched(), RATES[0], status="done", score=0.5)
    told = module.search_wave(searched(data="other"))
    assert (told.known, told.first, told.count) == ([], [{"optim.peak_lr": RATES[0]}], 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 8}, r"a trial of other settings beside its axes \(training.max_steps=7 -> training.max_steps=8\)"),
        (
            {"axes": "axes: {optim.peak_lr: {loguniform: [3.0e-4, 1.0e-3]}}\n"},
            r"a trial at optim.peak_lr=0.0002, which is not from 0.0003 to 0.001",
        ),
        (
            {"axes": "axes: {masking.mask_prob: {uniform: [0.5, 0.8]}}\n"},
            "a trial of the settings optim.peak_lr, not masking.mask_prob",
        ),
    ],
)
def test_trials_of_another_search_are_refused(searched, changed, message):
    begin(searched(), RATES[0], status="done", score=0.5)
    with pytest.raises(ResumeRefusedError, match=message):
        module.search_wave(searched(**changed))


def test_a_search_without_optuna_is_refused_before_anything_starts(searched, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tune_module, "find_spec", lambda name: None if name == "optuna" else find_spec(name))
    with pytest.raises(EnvironmentFaultError, match=r"pip install 'ray-musicssl\[optuna\]'"):
        tune_module.tune(searched().space, run_dir=tmp_path / "new", shards=tiny.shards.path, data=tmp_path)
    assert not (tmp_path / "new").exists()


def test_a_search_that_is_gone_on_with_names_no_trial_before(searched):
    sweep = searched()
    begin(sweep, RATES[0], status="done", score=0.5)
    assert sweep.shown_names == []
