"""The fit of a probe: it learns what can be learned, honestly and repeatably."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError
from ray_musicssl.probing import fit as fitting
from ray_musicssl.probing.fit import fit_probe, predict
from ray_musicssl.probing.rows import ProbeSplit, row_statistics
from ray_musicssl.tasks.base import SPLITS, Example
from ray_musicssl.tasks.giantsteps import GiantStepsKey
from ray_musicssl.tasks.gtzan import GtzanGenre, GtzanRhythm
from ray_musicssl.tasks.metrics import r2, tag_score

CONFIG = ProbeConfig(hidden_dim=32, lr=5e-3, max_epochs=40, patience=15)  # small, so fast that 160 steps do
SIZES = {"train": 200, "valid": 60, "test": 100}


def example(index, split, target):
    return Example(id=f"{split}{index:04d}", track=f"{split}{index}", path=Path("x"), split=split, target=target)


def clip_splits(*, signal, seed=0, layers=3, informative=1):
    """Ten classes that one layer shows, if `signal` is not 0."""
    rng = np.random.default_rng(seed)
    splits = {}
    for split in SPLITS:
        labels = rng.integers(0, 10, SIZES[split])
        features = rng.standard_normal((len(labels), layers, 16)).astype(np.float32)
        features[np.arange(len(labels)), informative, labels] += signal
        examples = [example(index, split, int(label)) for index, label in enumerate(labels)]
        splits[split] = ProbeSplit(examples=examples, features=torch.from_numpy(features * 7 + 100).half())
    return splits


def beat_splits(signal):
    """Steady beats that raise some dimensions of one layer."""
    rng = np.random.default_rng(1)
    splits = {}
    for split, count in {"train": 24, "valid": 6, "test": 8}.items():
        examples, clips = [], []
        for index in range(count):
            period_s = rng.uniform(0.35, 0.8)
            beats_s = np.arange(rng.uniform(0, period_s), 8.0, period_s)
            features = rng.standard_normal((2, 399, 12)).astype(np.float32)
            frames = np.round(beats_s * 50).astype(int)
            features[1, frames[frames < 399], :4] += signal
            examples.append(example(index, split, beats_s.tolist()))
            clips.append(torch.from_numpy(features).half())
        splits[split] = ProbeSplit(examples=examples, features=clips)
    return splits


def test_separable_classes_are_learned():
    fit = fit_probe(GtzanGenre(), clip_splits(signal=8.0), CONFIG, num_outputs=10, seed=0)
    assert fit.test["accuracy"] > 0.9


def test_noise_stays_at_chance_on_test_though_train_is_learned_by_heart():
    fit = fit_probe(GtzanGenre(), clip_splits(signal=0.0), CONFIG, num_outputs=10, seed=0)
    assert fit.test["accuracy"] < 0.25


def test_an_epoch_whose_outputs_are_no_numbers_is_never_the_best_and_has_no_score(monkeypatch):
    """A NaN has a rank in no list: sorted, it gives an AUC of 1 or 0 by the order of the examples."""
    seen = []
    monkeypatch.setattr(fitting._Monitor, "is_better", lambda self, score, epoch: seen.append(score))
    monkeypatch.setattr(fitting, "predict", lambda *args: broken(predict(*args)))
    fit = fit_probe(
        GtzanGenre(), clip_splits(signal=8.0), CONFIG.model_copy(update={"max_epochs": 2}), num_outputs=10, seed=0
    )
    assert np.isnan([*seen, *fit.valid.values(), *fit.test.values()]).all()
    assert len(seen) == 2


def broken(predictions):
    return replace(predictions, outputs=[predictions.outputs[0] * np.nan, *predictions.outputs[1:]])


def test_the_informative_layer_gets_the_most_weight():
    for informative in (0, 2):
        splits = clip_splits(signal=5.0, informative=informative)
        fit = fit_probe(GtzanGenre(), splits, CONFIG, num_outputs=10, seed=0)
        assert fit.layer_weights.argmax() == informative
        assert fit.layer_weights.sum() == pytest.approx(1)


def test_the_same_seed_gives_the_same_fit_and_another_seed_another():
    splits = clip_splits(signal=2.0)
    config = CONFIG.model_copy(update={"max_epochs": 4})
    fits = [fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=seed) for seed in (3, 3, 4)]
    outputs = [np.stack(fit.test_predictions.outputs) for fit in fits]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert fits[0].test == fits[1].test
    assert not np.array_equal(outputs[0], outputs[2])


def test_a_fit_neither_reads_nor_moves_the_global_random_state():
    splits = clip_splits(signal=2.0)
    config = CONFIG.model_copy(update={"max_epochs": 2})
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second = fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=0)
    np.testing.assert_array_equal(first.layer_weights, second.layer_weights)


def test_statistics_equal_numpy_and_a_constant_dimension_becomes_nought():
    features = torch.from_numpy(np.random.default_rng(0).normal(50, 3, (700, 2, 4))).float()
    features[:, 1, 3] = 0.1
    statistics = row_statistics(features)
    np.testing.assert_allclose(statistics.mean, features.numpy().mean(axis=0, dtype=np.float64), rtol=1e-6)
    expected = 1 / features[:, 0].numpy().astype(np.float64).std(axis=0)
    np.testing.assert_allclose(statistics.inverse_sd[0], expected, rtol=1e-4)
    assert statistics.standardize(features)[:, 1, 3].abs().max() < 1e-6


def test_frames_and_the_same_rows_as_clips_have_the_same_statistics():
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((30, 2, 4))).float()
    clips = [rows[:10].transpose(0, 1), rows[10:].transpose(0, 1)]
    torch.testing.assert_close(row_statistics(clips).mean, row_statistics(rows).mean)
    torch.testing.assert_close(row_statistics(clips).inverse_sd, row_statistics(rows).inverse_sd)


def test_inputs_are_scaled_by_statistics_of_the_training_split_alone():
    splits = clip_splits(signal=5.0)
    shifted = dict(splits)
    for split in ("valid", "test"):  # were they scaled by their own statistics, this would change nothing
        shifted[split] = ProbeSplit(examples=splits[split].examples, features=splits[split].features * 2 - 90)
    config = CONFIG.model_copy(update={"max_epochs": 5})
    plain, moved = (fit_probe(GtzanGenre(), s, config, num_outputs=10, seed=0) for s in (splits, shifted))
    assert moved.test["accuracy"] != plain.test["accuracy"]
    # Scaling every split alike does change nothing.
    alike = {name: ProbeSplit(examples=s.examples, features=s.features.float() * 4 + 8) for name, s in splits.items()}
    same = fit_probe(GtzanGenre(), alike, config, num_outputs=10, seed=0)
    np.testing.assert_allclose(
        np.stack(same.test_predictions.outputs), np.stack(plain.test_predictions.outputs), atol=1e-2
    )


def test_the_best_epoch_by_validation_is_the_one_that_is_tested():
    splits = clip_splits(signal=2.0)
    config = CONFIG.model_copy(update={"max_epochs": 40, "patience": 3})
    fit = fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=0)
    assert fit.num_epochs == min(40, fit.best_epoch + 4)
    until_best = config.model_copy(update={"max_epochs": fit.best_epoch + 1})
    again = fit_probe(GtzanGenre(), splits, until_best, num_outputs=10, seed=0)
    assert again.test == fit.test


def test_the_ensemble_of_clips_that_is_best_on_valid_is_the_one_that_is_tested():
    splits = clip_splits(signal=2.0)
    # Every five clips in a row are a song with the key of its first clip; the others lead astray, each way in its own way.
    for name in ("valid", "test"):
        split = splits[name]
        songs = [split.examples[index - index % 5] for index in range(len(split.examples))]
        examples = [
            replace(e, track=song.track, target=song.target) for e, song in zip(split.examples, songs, strict=True)
        ]
        splits[name] = ProbeSplit(examples=examples, features=split.features)
    config = CONFIG.model_copy(
        update={"max_epochs": 1, "batch_size": 16, "lr": 1e-2}
    )  # so that the ensemble chooses no epoch
    by_rule = {
        rule: fit_probe(GiantStepsKey(rule), splits, config, num_outputs=24, seed=0)
        for rule in ("mean_logits", "mean_probs", "max", "vote", "best")
    }
    best = by_rule.pop("best")
    winner = max(by_rule.values(), key=lambda fit: fit.valid["weighted_score"])
    assert (best.valid, best.test) == (winner.valid, winner.test)
    assert best.valid != by_rule["mean_logits"].valid, "the choice was no choice"


def test_an_empty_split_is_refused_by_name():
    splits = clip_splits(signal=1.0)
    splits["valid"] = ProbeSplit(examples=[], features=[])
    with pytest.raises(DataError, match="no valid example"):
        fit_probe(GtzanGenre(), splits, CONFIG, num_outputs=10, seed=0)


def test_beats_that_show_in_the_features_are_found():
    config = ProbeConfig(hidden_dim=32, lr=1e-2, crop_s=4.0, beat_batch_size=4, beat_max_epochs=10)
    fit = fit_probe(GtzanRhythm(), beat_splits(3.0), config, num_outputs=1, seed=0)
    assert fit.test["f1_70ms"] > 0.9
    assert fit.test["f1_20ms"] > 0.8


def test_beats_that_do_not_show_are_not_found():
    config = ProbeConfig(hidden_dim=32, crop_s=4.0, beat_max_epochs=2)
    fit = fit_probe(GtzanRhythm(), beat_splits(0.0), config, num_outputs=1, seed=0)
    assert fit.test["f1_20ms"] < 0.5


class ToyRegression:
    name, dataset, kind, metrics = "toy", "toy", "regression", ("r2",)

    def read(self, data_dir, *, annotations_only=False):
        raise NotImplementedError

    def score(self, predictions):
        answers = np.array([example.target for example in predictions.examples])
        return {"r2": float(r2(answers, np.stack(predictions.outputs)).mean())}


class ToyTags(ToyRegression):
    kind, metrics = "multilabel", ("roc_auc",)

    def score(self, predictions):
        answers = np.array([example.target for example in predictions.examples], bool)
        return {"roc_auc": tag_score(answers, np.stack(predictions.outputs)).auc}


@pytest.mark.parametrize(("task", "metric", "least"), [(ToyRegression(), "r2", 0.7), (ToyTags(), "roc_auc", 0.9)])
def test_numbers_and_tags_are_learned_too(task, metric, least):
    rng = np.random.default_rng(0)
    splits = {}
    for split in SPLITS:
        features = rng.standard_normal((SIZES[split], 2, 8)).astype(np.float32)
        values = features[:, 0, :2] + features[:, 1, :2]
        targets = (values > 0).astype(float) if task.kind == "multilabel" else values
        examples = [example(index, split, list(map(float, row))) for index, row in enumerate(targets)]
        splits[split] = ProbeSplit(examples=examples, features=torch.from_numpy(features))
    fit = fit_probe(task, splits, CONFIG, num_outputs=2, seed=0)
    assert fit.test[metric] > least


def test_a_batch_larger_than_the_set_is_the_whole_set():
    splits = clip_splits(signal=5.0)
    small = {name: ProbeSplit(examples=s.examples[:7], features=s.features[:7]) for name, s in splits.items()}
    config = CONFIG.model_copy(update={"max_epochs": 3, "dropout": 0.0})
    fits = [
        fit_probe(GtzanGenre(), small, config.model_copy(update={"batch_size": size}), num_outputs=10, seed=0)
        for size in (7, 64)
    ]
    assert fits[0].test == fits[1].test
    np.testing.assert_array_equal(*(np.stack(fit.test_predictions.outputs) for fit in fits))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_split_without_a_tag_that_can_be_scored_is_refused_by_name(split):
    splits = {}
    for name in SPLITS:
        targets = [[0.0, 1.0]] * 4 if name == split else [[0.0, 1.0], [1.0, 0.0]] * 2  # all alike: nothing to rank
        examples = [example(index, name, target) for index, target in enumerate(targets)]
        splits[name] = ProbeSplit(examples=examples, features=torch.zeros(4, 1, 3))
    with pytest.raises(DataError, match=f"toy: roc_auc of the {split} split cannot be computed from its 4"):
        fit_probe(ToyTags(), splits, CONFIG, num_outputs=2, seed=0)


def test_one_layer_of_features_is_probed_as_if_there_were_no_other():
    splits = clip_splits(signal=3.0)
    config = CONFIG.model_copy(update={"max_epochs": 3})
    alone = {name: ProbeSplit(examples=s.examples, features=s.features[:, 1:2]) for name, s in splits.items()}
    chosen = {name: s.layers(slice(1, 2)) for name, s in splits.items()}
    fits = [fit_probe(GtzanGenre(), each, config, num_outputs=10, seed=0) for each in (alone, chosen)]
    np.testing.assert_array_equal(*(np.stack(fit.test_predictions.outputs) for fit in fits))
    whole = fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=0)
    assert not np.array_equal(np.stack(whole.test_predictions.outputs), np.stack(fits[0].test_predictions.outputs))


def test_features_scaled_once_and_at_every_step_give_the_same_fit(monkeypatch):
    splits = clip_splits(signal=2.0)
    config = CONFIG.model_copy(update={"max_epochs": 3})
    before = fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=0)
    monkeypatch.setattr(fitting, "SCALED_BYTES", 0)
    after = fit_probe(GtzanGenre(), splits, config, num_outputs=10, seed=0)
    np.testing.assert_array_equal(*(np.stack(fit.test_predictions.outputs) for fit in (before, after)))


def test_a_fit_whose_every_epoch_diverges_is_scored_as_it_began():
    splits = clip_splits(signal=2.0)
    config = CONFIG.model_copy(update={"max_epochs": 2, "lr": 1e30})
    rows = {
        name: [list(map(float, s.features[i, 0, :2])) for i in range(len(s.examples))] for name, s in splits.items()
    }
    values = {
        name: ProbeSplit(
            examples=[example(i, name, row) for i, row in enumerate(rows[name])], features=splits[name].features
        )
        for name in SPLITS
    }
    fit = fit_probe(ToyRegression(), values, config, num_outputs=2, seed=0)
    assert np.isfinite([fit.valid["r2"], fit.test["r2"]]).all()
