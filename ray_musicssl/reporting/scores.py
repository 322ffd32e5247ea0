"""Score files as a report reads them: one encoder on one task.

Conventions:
    Scores are fractions, as in their files. What an older file lacks is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ray_musicssl.errors import DataError
from ray_musicssl.reporting.json_object import read_object


@dataclass(frozen=True, kw_only=True)
class MetricScore:
    """A metric's mean and spread over fits (probe seeds, or runs that differ by their seed), in 0..1."""

    mean: float
    sd: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One encoder on one task."""

    path: Path
    task: str
    dataset: str
    model: str
    encoder_hash: str
    config_hash: str
    metrics: Mapping[str, MetricScore]
    used: Mapping[str, int]
    expected: Mapping[str, int]  # by the annotations of this copy
    official: Mapping[str, int]  # as published; empty if that is not known
    is_part: bool  # of the published data set, or another one: nothing printed compares with it
    skipped: Mapping[str, int]
    layer_weights: tuple[float, ...]
    by_layer: tuple[Mapping[str, MetricScore], ...]  # of probes on single layers, 0..L; empty if there were none
    details: Mapping[str, Any]
    statistics: str  # over the time of a window: mean, or mean+sd; empty of frames
    notes: tuple[str, ...]  # what a reader of the score should know of this copy of the data set
    source_kind: Literal["trained", "untrained", "baseline"] | None  # None: of a file that an earlier version wrote
    source_path: str  # of the run or folder whose encoder, or whose untrained twin, this is; empty if that is not known


def read_score(path: Path) -> Score:
    """Read a score file.

    Raises:
        DataError: if it is damaged, or is something else.
    """
    raw = read_object(path)
    try:
        metrics = _metrics(raw["metrics"])
        if not metrics:
            raise DataError(f"{path} holds no metric; probe that task again")
        return Score(
            path=path,
            task=str(raw["task"]),
            dataset=str(raw.get("dataset", "")),
            model=str(raw["model"]),
            encoder_hash=str(raw.get("encoder_hash", "")),
            config_hash=str(raw.get("config_hash", "")),
            metrics=metrics,
            used=raw.get("used") or {},
            expected=raw.get("expected") or {},
            official=raw.get("official") or {},
            is_part=_is_part(raw),
            skipped=raw.get("skipped") or {},
            layer_weights=tuple(float(weight) for weight in raw.get("layer_weights") or ()),
            by_layer=tuple(_metrics(layer) for layer in raw.get("by_layer") or ()),
            details=raw.get("details") or {},
            statistics=str(raw.get("statistics", "mean") or ""),
            notes=tuple(raw.get("notes") or ()),
            source_kind=(raw.get("source") or {}).get("kind"),
            source_path=str((raw.get("source") or {}).get("path") or ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a probe score ({error!r} is missing or wrong); probe that task again"
        ) from error


def _is_part(raw: Mapping[str, Any]) -> bool:
    """What the file says; one that an earlier version wrote says it by its counts."""
    if raw.get("is_part") is not None:
        return bool(raw["is_part"])
    official = raw.get("official") or {}
    return bool(official) and (raw.get("expected") or {}).get("test") != official.get("test")


def _metrics(raw: Mapping[str, Any]) -> dict[str, MetricScore]:
    return {
        name: MetricScore(mean=float(m["mean"]), sd=float(m["sd"]), values=tuple(float(v) for v in m["values"]))
        for name, m in raw.items()
    }
