"""Score files: what every seed's probe of one encoder on one task gave, and what it was given.

Conventions:
    One file a task, `scores/<task>.json` in the encoder's directory. Scores are fractions; `sd` is over probe seeds (the
    population's), 0 for one seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import RunDir, read_json, write_json
from ray_musicssl.tasks.base import Predictions, Split, Task
from ray_musicssl.tasks.beats import decode_beats
from ray_musicssl.tasks.metrics import by_song, confusion

MAX_CONFUSION_CLASSES = 24
ACTIVATION_DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One metric over probe seeds."""

    mean: float
    sd: float
    values: Sequence[float]  # in the order of the seeds


@dataclass(frozen=True, kw_only=True)
class SeedScore:
    """What one seed's fit leaves behind."""

    seed: int
    valid: Mapping[str, float]
    test: Mapping[str, float]
    layer_weights: Float32[np.ndarray, " layers"]
    used: Mapping[Split, int]  # tracks whose features there are
    failed: Mapping[str, str]  # example -> why its audio could not be used after all
    details: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One encoder on one task."""

    task: str
    dataset: str
    model: str
    encoder_hash: str
    data_hash: str  # of the examples, their answers and the identity of their files
    config_hash: str  # of the probe's recipe
    metrics: Mapping[str, Spread]  # on test
    valid: Mapping[str, Spread]
    used: Mapping[Split, int]  # tracks
    expected: Mapping[Split, int]
    skipped: Mapping[str, int]  # items left out, by reason
    layer_weights: Sequence[float]  # mean over seeds
    layers: int
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Model, task and every metric in points, on one line."""
        scores = ", ".join(f"{name} {100 * s.mean:.1f} +- {100 * s.sd:.1f}" for name, s in self.metrics.items())
        return f"{self.model}  {self.task}  {scores}"

    def is_for(self, *, encoder_hash: str, data_hash: str, config_hash: str) -> bool:
        """Whether the score would come out the same again."""
        mine = (self.encoder_hash, self.data_hash, self.config_hash)
        return mine == (encoder_hash, data_hash, config_hash)


def spread(runs: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The scores of several seeds by metric."""
    columns = {name: [float(run[name]) for run in runs] for name in runs[0]}
    return {
        name: Spread(mean=float(np.mean(values)), sd=float(np.std(values)), values=values)
        for name, values in columns.items()
    }


def details_of(task: Task, classes: Sequence[str], predictions: Predictions) -> dict[str, Any]:
    """What a picture can be made of: the confusion of few classes, or one test track's beats."""
    if task.kind == "beats":
        example, curve = predictions.examples[0], np.asarray(predictions.outputs[0])
        decoded = decode_beats(curve, predictions.frame_rate)
        return {
            "beats": {
                "id": example.id,
                "frame_rate": predictions.frame_rate,
                "activation": np.round(curve.astype(np.float64), ACTIVATION_DECIMALS).tolist(),
                "reference": list(example.target),
                "decoded": decoded.tolist(),
            }
        }
    if task.kind == "multiclass" and len(classes) <= MAX_CONFUSION_CLASSES:
        songs = by_song([example.track for example in predictions.examples], np.stack(predictions.outputs))
        answers = np.array([predictions.examples[clip].target for clip in songs.first_clip])
        matrix = confusion(answers, songs.outputs.argmax(axis=1), len(classes))
        return {"confusion": {"classes": list(classes), "matrix": matrix}}
    return {}


def score_path(out_dir: Path, task: str) -> Path:
    """Where the score of a task lies."""
    return RunDir(out_dir).scores_dir / f"{task}.json"


def write_score(out_dir: Path, score: TaskScore) -> Path:
    """Write a score file whole; gives its path."""
    path = score_path(out_dir, score.task)
    write_json(path, asdict(score))
    return path


def read_score(path: Path) -> TaskScore:
    """Read a score file.

    Raises:
        DataError: if it is missing or is not a score.
    """
    try:
        raw = read_json(path)
        spreads = {part: {name: Spread(**entry) for name, entry in raw[part].items()} for part in ("metrics", "valid")}
        return TaskScore(**{**raw, **spreads})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a probe score ({error!r}); remove it and probe that task again") from error
