"""One share of probes, fitted in this process."""

from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from ray_musicssl.config.probe import EnsembleRule, ProbeConfig
from ray_musicssl.on_ray import fits
from ray_musicssl.probing.fit import fit_probe
from ray_musicssl.probing.loading import LoadedData
from ray_musicssl.probing.rows import ProbeSplit
from ray_musicssl.tasks.base import SPLITS, Example
from ray_musicssl.tasks.giantsteps import KEYS, GiantStepsKey
from ray_musicssl.tasks.gtzan import GENRES
from ray_musicssl.tasks.metrics import by_song, confusion

CONFIG = ProbeConfig(hidden_dim=16, max_epochs=8, num_seeds=1)


def _fitted(monkeypatch, task, classes, splits, fit, **settings):
    """The score of one fit on these splits."""
    loaded = LoadedData(splits=splits, used={}, failed={})
    monkeypatch.setattr(fits, "load_splits", lambda *_, **__: loaded)
    data, config = SimpleNamespace(classes=classes), CONFIG.model_copy(update=settings)
    share = fits._Share(task=task, data=data, places=None, config=config, frame_rate=50.0, fits=[fit])
    (score,) = fits._fit_on_worker(share)
    return score


@pytest.mark.parametrize("rule", ["vote", "max", "best"])
def test_the_ensemble_that_is_asked_for_scores_the_songs_and_makes_their_confusions(monkeypatch, rule):
    rng = np.random.default_rng(3)  # on these, each rule answers for some songs as the mean logits do not
    splits = {}
    for split in SPLITS:
        examples = [
            Example(id=f"{split}{n}", track=f"{split}{n // 3}", path=Path("x"), split=split, target=n // 3 % 4)
            for n in range(60)
        ]
        features = rng.standard_normal((60, 2, 8))
        features[np.arange(60), 0, [example.target for example in examples]] += 1.5
        splits[split] = ProbeSplit(examples=examples, features=torch.from_numpy(features).half())
    fit = fits.Fit(seed=0, lr=1e-2, has_details=True)
    score = _fitted(monkeypatch, "giantsteps_key", KEYS, splits, fit, key_ensemble=rule)
    assert score.ensemble in ({rule} if rule != "best" else get_args(EnsembleRule))
    config = CONFIG.model_copy(update={"lr": 1e-2, "key_ensemble": rule})
    again = fit_probe(GiantStepsKey(rule), splits, config, num_outputs=24, seed=0)
    tracks = [example.track for example in splits["test"].examples]
    songs = by_song(tracks, np.stack(again.test_predictions.outputs), score.ensemble)
    answers = np.array([splits["test"].examples[clip].target for clip in songs.first_clip])
    assert score.details["confusion"]["matrix"] == confusion(answers, songs.outputs.argmax(axis=1), 24)
    assert score.test["accuracy"] == np.mean(answers == songs.outputs.argmax(axis=1))


def test_without_the_output_of_the_convolutions_the_sum_is_of_the_layers_above_it(monkeypatch):
    rng = np.random.default_rng(0)
    splits = {}
    for split in SPLITS:
        examples = [Example(id=str(n), track=str(n), path=Path("x"), split=split, target=n % 4) for n in range(80)]
        features = rng.standard_normal((80, 3, 8))
        features[np.arange(80), 0, [example.target for example in examples]] += 9.0  # known to layer 0 alone
        splits[split] = ProbeSplit(examples=examples, features=torch.from_numpy(features).half())

    def run(layers, layer=None):
        fit = fits.Fit(seed=0, lr=1e-2, layer=layer)
        return _fitted(monkeypatch, "gtzan_genre", GENRES, splits, fit, layers=layers, max_epochs=20)

    whole, above = run("all"), run("transformer")
    assert whole.test["accuracy"] > 0.9
    assert above.test["accuracy"] < 0.5
    assert whole.layer_weights.min() > 0
    assert above.layer_weights[0] == 0
    assert above.layer_weights.sum() == pytest.approx(1)
    assert run("transformer", layer=0).test["accuracy"] > 0.9
