"""Score files: what every seed's probe of one encoder on one task gave, and what it was given.

Conventions:
    One file a task, `scores/<task>.json` in the encoder's directory, and one for other statistics than the paper's.
    Scores are fractions; `sd` is over probe seeds (the population's), 0 for one seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from ray_musicssl.config.probe import EnsembleRule
from ray_musicssl.errors import DataError
from ray_musicssl.probing.features import Pool
from ray_musicssl.probing.sources import Origin
from ray_musicssl.run_dir import RunDir, read_json, write_json
from ray_musicssl.tasks.base import Split


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One metric over probe seeds."""

    mean: float
    sd: float
    values: Sequence[float]  # in the order of the seeds


@dataclass(frozen=True, kw_only=True)
class FitScore:
    """What one fit leaves behind."""

    seed: int
    lr: float
    layer: int | None  # the only layer that it saw; None: all, in a weighted sum
    valid: Mapping[str, float]
    test: Mapping[str, float]
    layer_weights: Float32[np.ndarray, " layers"]
    ensemble: EnsembleRule | None  # how the clips of a track were brought together, where there is a choice
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
    statistics: Pool = "mean"  # over the time of a window; None: frames
    lr: float | None = None  # the chosen rate of a grid
    valid_by_lr: Mapping[str, Spread] = field(default_factory=dict)  # headline on valid by rate; empty without a grid
    # Test metrics of probes of single layers 0..L; empty if not asked for.
    by_layer: Sequence[Mapping[str, Spread]] = field(default_factory=list)
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    # None, of the next four: of a file that an earlier version wrote.
    official: Mapping[Split, int] | None = None  # as `expected`, of the published data set; None too: not published
    is_part: bool | None = None  # of the published data set, or another one
    source: Origin | None = None
    features_hash: str | None = None  # of the features that the probe saw

    def line(self) -> str:
        """Model, task and every metric in points, on one line."""
        rate = f"  lr {self.lr:g}" if self.lr is not None else ""
        scores = ", ".join(f"{name} {100 * s.mean:.1f} +- {100 * s.sd:.1f}" for name, s in self.metrics.items())
        is_wide = is_wider(self.statistics, self.source)
        return f"{self.model}{', mean+sd' if is_wide else ''}  {self.task}  {scores}{rate}"

    def is_for(self, *, encoder_hash: str, data_hash: str, config_hash: str, features_hash: str | None) -> bool:
        """Whether the score would come out the same again.

        Args:
            encoder_hash: what the encoder is now.
            data_hash: what the data set is now.
            config_hash: the recipe.
            features_hash: of the features that are kept now; None: not all are there, so they say nothing against it.
        """
        mine = (self.encoder_hash, self.data_hash, self.config_hash)
        if None not in (features_hash, self.features_hash) and features_hash != self.features_hash:
            return False
        return mine == (encoder_hash, data_hash, config_hash)


def spread(runs: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The scores of several seeds by metric."""
    columns = {name: [float(run[name]) for run in runs] for name in runs[0]}
    return {
        name: Spread(mean=float(np.mean(values)), sd=float(np.std(values)), values=values)
        for name, values in columns.items()
    }


def best_rate(valid: Mapping[float, Sequence[Mapping[str, float]]], headline: str) -> float:
    """The learning rate whose seeds have the best mean headline on the validation split (NaN is worst); of equals the first.

    Args:
        valid: validation scores of every seed, by rate.
        headline: the metric that chooses.
    """
    means = {rate: float(np.mean([run[headline] for run in runs])) for rate, runs in valid.items()}
    return max(means, key=lambda rate: -np.inf if np.isnan(means[rate]) else means[rate])


def is_wider(statistics: Pool, source: Origin | None) -> bool:
    """Whether a probe saw more than it does in the paper: of hand-made features it always has both statistics."""
    return statistics == "mean+sd" and (source is None or source.kind != "baseline")


def score_path(out_dir: Path, task: str, statistics: Pool, source: Origin | None) -> Path:
    """Where the score of a task lies: `TASK.json`, `TASK.mean+sd.json` of a probe of an encoder's mean and deviation."""
    return RunDir(out_dir).scores_dir / f"{task}{'.mean+sd' if is_wider(statistics, source) else ''}.json"


def write_score(out_dir: Path, score: TaskScore) -> Path:
    """Write a score file whole; gives its path."""
    path = score_path(out_dir, score.task, score.statistics, score.source)
    write_json(path, asdict(score))
    return path


def read_score(path: Path) -> TaskScore:
    """Read a score file.

    Raises:
        DataError: if it is missing or is not a score.
    """
    try:
        raw = read_json(path)
        spreads = {part: _spreads(raw[part]) for part in ("metrics", "valid")}
        spreads["valid_by_lr"] = _spreads(raw.get("valid_by_lr", {}))
        by_layer = [_spreads(layer) for layer in raw.get("by_layer", ())]
        source = Origin(**raw["source"]) if raw.get("source") else None
        return TaskScore(**{**raw, **spreads, "by_layer": by_layer, "source": source})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a probe score ({error!r}); remove it and probe that task again") from error


def _spreads(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Spread]:
    return {name: Spread(**entry) for name, entry in raw.items()}
