"""Scores that several tasks share, from predictions."""

import numpy as np

from ray_musicssl.tasks.base import Predictions
from ray_musicssl.tasks.metrics import accuracy, by_song, tag_score


def class_scores(predictions: Predictions) -> dict[str, float]:
    """Accuracy: the fraction of examples whose highest output is that of their class."""
    answers = np.array([example.target for example in predictions.examples])
    guesses = np.stack(predictions.outputs).argmax(axis=1)
    return {"accuracy": accuracy(answers, guesses)}


def tag_scores(predictions: Predictions) -> dict[str, float]:
    """Macro ROC-AUC and average precision over tracks, of the classes that have a positive and a negative.

    A track's outputs are the mean of its examples' logits. Both are NaN if no class can be scored.
    """
    tracks = by_song([example.track for example in predictions.examples], np.stack(predictions.outputs))
    answers = np.array([predictions.examples[first].target for first in tracks.first_clip], bool)
    found = tag_score(answers, tracks.outputs)
    return {"roc_auc": found.auc, "average_precision": found.ap}
