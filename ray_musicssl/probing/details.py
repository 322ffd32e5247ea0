"""What pictures of a score are made of: confusions, scores by tag, scatters, one track's beats.

Conventions:
    One answer a track: the outputs of its windows are brought together as in the score. Numbers are rounded to 4 decimals.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from ray_musicssl.tasks.base import EnsembleTask, Predictions, Task
from ray_musicssl.tasks.gtzan import GtzanRhythm
from ray_musicssl.tasks.metrics import by_song, confusion, tag_score

MAX_SCATTER_TRACKS = 500
DECIMALS = 4


def details_of(task: Task, classes: Sequence[str], predictions: Predictions) -> dict[str, Any]:
    """What a picture of a task's test split can be made of, by the kind of picture."""
    if isinstance(task, GtzanRhythm):
        return {"beats": _beats(task, predictions)}
    rule = task.rule if isinstance(task, EnsembleTask) else "mean_logits"
    songs = by_song([example.track for example in predictions.examples], np.stack(predictions.outputs), rule)
    answers = np.array([predictions.examples[clip].target for clip in songs.first_clip])
    if task.kind == "multilabel":
        return {"tags": _tags(classes, answers, songs.outputs)}
    if task.kind == "regression":
        return {"regression": _regression(classes, answers, songs.outputs)}
    matrix = confusion(answers, songs.outputs.argmax(axis=1), len(classes))
    return {"confusion": {"classes": list(classes), "matrix": matrix}}


def _beats(task: GtzanRhythm, predictions: Predictions) -> dict[str, Any]:
    """The first track's activation, and the beats that were annotated and found."""
    example, curve = predictions.examples[0], np.asarray(predictions.outputs[0])
    return {
        "id": example.id,
        "frame_rate": predictions.frame_rate,
        "activation": _rounded(curve),
        "reference": list(example.target),
        "decoded": task.decode(replace(predictions, examples=[example], outputs=[curve]))[0].tolist(),
    }


def _tags(
    classes: Sequence[str], answers: np.ndarray, outputs: Float64[np.ndarray, "tracks classes"]
) -> dict[str, Any]:
    """Both metrics of every tag, None for a tag that cannot be scored, and how many positives there are."""
    found = tag_score(answers.astype(bool), outputs)
    return {
        "classes": list(classes),
        "roc_auc": _or_none(found.auc_of_class),
        "average_precision": _or_none(found.ap_of_class),
        "positives": answers.astype(int).sum(axis=0).tolist(),
        "num_tracks": len(answers),
        "scored": found.num_classes,
    }


def _regression(
    names: Sequence[str], answers: np.ndarray, outputs: Float64[np.ndarray, "tracks numbers"]
) -> dict[str, Any]:
    """Answers and outputs of the first tracks, as many as a scatter can show."""
    shown = slice(MAX_SCATTER_TRACKS)
    return {"names": list(names), "answers": _rounded(answers[shown]), "outputs": _rounded(outputs[shown])}


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(np.float64), DECIMALS).tolist()


def _or_none(values: Float64[np.ndarray, " classes"]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in _rounded(values)]
