"""What pictures are made of, for each kind of task."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ray_musicssl.probing.details import MAX_SCATTER_TRACKS, details_of
from ray_musicssl.tasks.base import Example, Predictions
from ray_musicssl.tasks.emomusic import EmoMusic
from ray_musicssl.tasks.giantsteps import KEYS, GiantStepsKey
from ray_musicssl.tasks.gtzan import GtzanRhythm
from ray_musicssl.tasks.nsynth import NsynthPitch

PITCHES = [str(pitch) for pitch in range(128)]


class Tags:
    """A tag task of four tags."""

    name = dataset = "tags"
    kind, metrics, pooling = "multilabel", ("roc_auc", "average_precision"), "outputs"

    def read(self, data_dir, *, annotations_only=False):
        raise NotImplementedError

    def score(self, predictions):
        raise NotImplementedError


def predictions(targets, outputs, tracks=None):
    examples = [
        Example(id=str(i), track=(tracks or "abcdef")[i], path=Path("x"), split="test", target=target)
        for i, target in enumerate(targets)
    ]
    return Predictions(examples=examples, outputs=outputs, frame_rate=50.0)


def test_confusion_counts_songs_not_clips():
    outputs = [np.eye(24, dtype=np.float32)[index] for index in (3, 3, 7)]
    found = details_of(GiantStepsKey(), KEYS, predictions([3, 3, 4], outputs, "aab"))["confusion"]
    assert found["matrix"][3][3] == 1
    assert found["matrix"][4][7] == 1
    assert np.sum(found["matrix"]) == 2


def test_confusions_of_pitches_are_whole_too():
    found = details_of(NsynthPitch(), PITCHES, predictions([60, 61], [np.eye(128)[72], np.eye(128)[61]]))["confusion"]
    assert found["classes"] == PITCHES
    assert np.argwhere(found["matrix"]).tolist() == [[60, 72], [61, 61]]


def test_beats_are_shown_with_what_was_annotated_and_decoded():
    curve = np.full(200, 0.01, np.float32)
    curve[10::25] = 0.9
    found = details_of(GtzanRhythm(), ["beat"], predictions([[0.2, 0.7]], [curve]))["beats"]
    assert found["reference"] == [0.2, 0.7]
    assert len(found["activation"]) == 200
    assert found["decoded"][:2] == pytest.approx([0.2, 0.7])


def test_every_tag_has_its_scores_as_scikit_learn_has_them_and_none_where_there_are_none():
    rng = np.random.default_rng(0)
    answers = (rng.random((30, 4)) < 0.4).astype(int)
    answers[:, 2], answers[:, 3] = 0, 1
    outputs = rng.standard_normal((30, 4)).astype(np.float32)
    apart = 3 * rng.standard_normal((30, 4))
    clips = np.stack([outputs + apart, outputs - apart], axis=1).reshape(
        60, 4
    )  # two windows a track: their mean counts
    examples = [
        Example(id=f"{i}", track=f"{i // 2}", path=Path("x"), split="test", target=answers[i // 2].tolist())
        for i in range(60)
    ]
    found = details_of(Tags(), list("abcd"), Predictions(examples=examples, outputs=list(clips)))
    tags = found["tags"]
    assert (tags["classes"], tags["positives"]) == (list("abcd"), answers.sum(axis=0).tolist())
    for index in (0, 1):
        assert tags["roc_auc"][index] == pytest.approx(roc_auc_score(answers[:, index], outputs[:, index]), abs=1e-4)
        ap = average_precision_score(answers[:, index], outputs[:, index])
        assert tags["average_precision"][index] == pytest.approx(ap, abs=1e-4)
    assert tags["roc_auc"][2:] == tags["average_precision"][2:] == [None, None]
    assert (tags["num_tracks"], tags["scored"]) == (30, 2)


def test_a_scatter_has_one_point_a_track_and_not_too_many():
    targets = [[0.5, -0.5]] * 2 + [[float(i), 0.0] for i in range(600)]
    examples = [
        Example(id=str(i), track=f"{max(i, 1):04d}", path=Path("x"), split="test", target=target)
        for i, target in enumerate(targets)
    ]
    outputs = [np.array([1.0, 0.0], np.float32), np.array([0.0, 0.25], np.float32)] + [np.zeros(2, np.float32)] * 600
    found = details_of(EmoMusic(), ["arousal", "valence"], Predictions(examples=examples, outputs=outputs))[
        "regression"
    ]
    assert found["names"] == ["arousal", "valence"]
    assert len(found["answers"]) == len(found["outputs"]) == MAX_SCATTER_TRACKS
    assert (found["answers"][0], found["outputs"][0]) == ([0.5, -0.5], [0.5, 0.125])
