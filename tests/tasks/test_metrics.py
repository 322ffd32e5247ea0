"""Every metric against scikit-learn or mir_eval on random input."""

import warnings

import mir_eval
import numpy as np
import pytest
from sklearn import metrics as oracle

from ray_musicssl.tasks.giantsteps import KEYS
from ray_musicssl.tasks.metrics import accuracy, beat_f1, by_song, confusion, key_score, matched_beats, r2, tag_score

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_and_confusion_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    answers, guesses = rng.integers(0, 5, (2, 60))
    assert accuracy(answers, guesses) == pytest.approx(oracle.accuracy_score(answers, guesses))
    expected = oracle.confusion_matrix(answers, guesses, labels=range(5))
    assert confusion(answers, guesses, 5) == expected.tolist()


def test_key_score_equals_mir_eval_for_every_pair_of_keys():
    for answer, answer_name in enumerate(KEYS):
        for guess, guess_name in enumerate(KEYS):
            expected = mir_eval.key.weighted_score(answer_name, guess_name)
            assert key_score(np.array([answer]), np.array([guess])) == pytest.approx(expected), (
                answer_name,
                guess_name,
            )


def test_key_score_is_the_mean_over_songs():
    c_major, g_major, a_minor = KEYS.index("C major"), KEYS.index("G major"), KEYS.index("A minor")
    assert key_score(np.array([c_major] * 3), np.array([c_major, g_major, a_minor])) == pytest.approx(
        (1 + 0.5 + 0.3) / 3
    )


@pytest.mark.parametrize("tolerance_s", [0.02, 0.07])
@pytest.mark.parametrize("seed", SEEDS)
def test_beat_f1_equals_mir_eval(seed, tolerance_s):
    rng = np.random.default_rng(seed)
    references = [np.sort(rng.uniform(0, 8, rng.integers(1, 40))) for _ in range(20)]
    estimates = [np.sort(rng.uniform(0, 8, rng.integers(1, 40))) for _ in range(20)]
    score = beat_f1(references, estimates, tolerance_s)
    pairs = list(zip(references, estimates, strict=True))
    each = [mir_eval.beat.f_measure(r, e, f_measure_threshold=tolerance_s) for r, e in pairs]
    matched = sum(len(mir_eval.util.match_events(r, e, tolerance_s)) for r, e in pairs)
    precision = matched / sum(map(len, estimates))
    recall = matched / sum(map(len, references))
    assert score.per_track == pytest.approx(np.mean(each))
    assert score.pooled == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_beat_exactly_the_tolerance_away_counts_in_spite_of_rounding():
    assert abs(1.02 - 1.00) > 0.02  # the trap
    assert matched_beats(np.array([1.00]), np.array([1.02]), 0.02) == 1
    assert matched_beats(np.array([1.00]), np.array([1.0201]), 0.02) == 0


def test_no_beats_give_nought():
    none, some = np.empty(0), np.array([1.0])
    for references, estimates in (([none], [some]), ([some], [none]), ([none], [none])):
        score = beat_f1(references, estimates, 0.07)
        assert score.pooled == score.per_track == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_r2_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    answers, guesses = rng.standard_normal((2, 30, 2)).astype(np.float32)
    answers[:, 1] = 0.25  # constant: scikit-learn's special case
    expected = oracle.r2_score(answers, guesses, multioutput="raw_values")
    np.testing.assert_allclose(r2(answers, guesses), expected, rtol=1e-5)
    np.testing.assert_allclose(r2(answers, answers), [1, 1])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_levels", [3, 1000])
def test_tag_scores_equal_scikit_learn_with_and_without_ties(seed, num_levels):
    rng = np.random.default_rng(seed)
    answers = rng.random((80, 6)) < 0.3
    scores = rng.integers(0, num_levels, (80, 6)).astype(np.float32)
    score = tag_score(answers, scores)
    assert score.num_classes == 6
    assert score.auc == pytest.approx(oracle.roc_auc_score(answers, scores, average="macro"))
    assert score.ap == pytest.approx(oracle.average_precision_score(answers, scores, average="macro"))


def test_classes_without_a_positive_or_a_negative_are_left_out():
    rng = np.random.default_rng(0)
    answers = rng.random((50, 4)) < 0.4
    answers[:, 1], answers[:, 2] = False, True
    scores = rng.standard_normal((50, 4))
    score = tag_score(answers, scores)
    assert score.num_classes == 2
    assert score.auc == pytest.approx(oracle.roc_auc_score(answers[:, [0, 3]], scores[:, [0, 3]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert score.ap != pytest.approx(oracle.average_precision_score(answers, scores))
    assert np.isnan(tag_score(answers[:, 1:2], scores[:, 1:2]).auc)
    expected = oracle.average_precision_score(answers[:, [0, 3]], scores[:, [0, 3]], average=None)
    np.testing.assert_allclose(score.ap_of_class, [expected[0], np.nan, np.nan, expected[1]])
    expected = oracle.roc_auc_score(answers[:, [0, 3]], scores[:, [0, 3]], average=None)
    np.testing.assert_allclose(score.auc_of_class, [expected[0], np.nan, np.nan, expected[1]])


def test_clips_of_a_song_are_joined_by_each_rule():
    outputs = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.5], [-1.0, 3.0]])
    tracks = ["b", "a", "b", "b"]
    mean = by_song(tracks, outputs)
    assert (list(mean.tracks), list(mean.first_clip)) == (["b", "a"], [0, 1])
    np.testing.assert_allclose(mean.outputs, [[1 / 3, 1.5], [0, 1]])
    np.testing.assert_allclose(by_song(tracks, outputs, "max").outputs, [[2, 3], [0, 1]])
    np.testing.assert_allclose(by_song(tracks, outputs, "vote").outputs, [[1 / 3, 2 / 3], [0, 1]])
    softmax = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(by_song(tracks, outputs, "mean_probs").outputs[0], softmax[[0, 2, 3]].mean(axis=0))
