"""What stages have left under a directory, read into plain values.

Conventions:
    Whatever is absent is simply not there; whatever is present and damaged stops the report, naming the file.
    Scores are fractions, as in their files. Paths in messages and labels are relative to the root.
"""

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ray_musicssl.config.loading import read_run_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DataError
from ray_musicssl.reporting.codebook_facts import CodebookFacts, read_codebook
from ray_musicssl.reporting.json_object import read_object
from ray_musicssl.reporting.label_facts import LabelFacts, read_label_sets
from ray_musicssl.reporting.paper import PRESET_ROWS
from ray_musicssl.reporting.scores import Score, read_score
from ray_musicssl.run_dir import RunDir

logger = logging.getLogger(__name__)

_NOT_ENTERED = {"checkpoints", "tb", "labels", "datasets", "pool", "__pycache__"}


@dataclass(frozen=True)
class Series:
    """One scalar over optimiser steps; values are finite."""

    steps: list[int]
    values: list[float]

    def __bool__(self) -> bool:
        return bool(self.steps)

    def late_mean(self) -> float:
        """The mean of the last tenth of the logged values, at least one: one batch is noise."""
        tail = self.values[-max(1, len(self.values) // 10) :]
        return sum(tail) / len(tail)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pre-training run directory."""

    path: Path
    name: str  # its directory's name; the whole relative path where two runs share one
    config: PretrainConfig | None
    log: list[dict[str, Any]]  # one object a step, ascending
    versions: Mapping[str, str]
    provenance: Mapping[str, Any]  # hashes of its shards and labels
    weights_sha256: str  # of its newest checkpoint; empty if there is none

    def series(self, scalar: str) -> Series:
        """A logged scalar; steps without a finite value are left out."""
        points = [(int(entry["step"]), entry.get(scalar)) for entry in self.log]
        kept = [(step, float(v)) for step, v in points if isinstance(v, int | float) and math.isfinite(v)]
        return Series([step for step, _ in kept], [value for _, value in kept])


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What became of the input files of one set of shards."""

    path: Path
    facts: Mapping[str, Any]  # of `done-prepare.json`; empty if the stage has not ended
    counts: Mapping[tuple[str, str], int]  # (status, reason) -> files


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything a report can tell of one directory."""

    root: Path
    runs: tuple[Run, ...]
    scores: tuple[Score, ...]
    codebooks: tuple[CodebookFacts, ...]
    label_sets: tuple[LabelFacts, ...]
    ledgers: tuple[Ledger, ...]
    timings: Mapping[str, Any]
    is_synthetic: bool  # the audio was made by `musicssl demo-data`


def find(root: Path) -> Found:
    """Read what lies under `root`.

    Raises:
        DataError: if `root` is not a directory, holds nothing to report, or a file in it is damaged.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; give the one that `musicssl demo` or a run wrote")
    places = list(directories(root))
    runs = tuple(sorted((run for d in places if (run := _read_run(d))), key=_paper_order))
    scores = [read_score(p) for d in places if d.name == "scores" for p in sorted(d.glob("*.json"))]
    found = Found(
        root=root,
        runs=_with_unique_names(runs, root),
        scores=_newest(_without_stale(scores, runs)),
        codebooks=tuple(read_codebook(d / "codebook.json") for d in places if (d / "codebook.json").exists()),
        label_sets=tuple(labels for d in places for labels in read_label_sets(d / "labels")),
        ledgers=tuple(ledger for directory in places if (ledger := _read_ledger(directory))),
        timings=_read_timings(root / "timings.json") if (root / "timings.json").exists() else {},
        is_synthetic=any(_is_of_the_demo(directory) for directory in places),
    )
    has_sweep = any((directory / "sweep.json").exists() for directory in places)
    if not (found.runs or found.scores or found.codebooks or found.ledgers or has_sweep):
        raise DataError(
            f"{root} holds nothing to report: no run (metrics.jsonl), no scores/*.json, no codebook.json, no shards; "
            f"run `musicssl pretrain` or `musicssl probe` first, or name the directory above their outputs"
        )
    return found


def directories(root: Path) -> Iterator[Path]:
    """A root and all below it, but for checkpoints, curves, labels and data; each before those in it."""
    for directory, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if name not in _NOT_ENTERED and not name.startswith("."))
        yield Path(directory)


def _is_of_the_demo(directory: Path) -> bool:
    """Whether it holds what `demo-data` made, or a sweep that was probed on that; the marker lies above the data sets."""
    facts = directory / "sweep.json"
    data = str(read_object(facts).get("data") or "") if facts.exists() else ""
    places = [directory, *([Path(data), Path(data).parent] if data else [])]
    return any((place / "done-demo-data.json").exists() for place in places)


def _read_timings(path: Path) -> dict[str, Any]:
    timings = read_object(path)
    for stage in timings.get("stages", ()):
        if not isinstance(stage, dict) or "stage" not in stage or not isinstance(stage.get("seconds"), int | float):
            raise DataError(f"{path}: {stage!r} is not a stage with its seconds; remove the file")
    return timings


def _read_run(directory: Path) -> Run | None:
    run_dir = RunDir(directory)
    has_config = run_dir.config_path.exists() and "objective" in (yaml.safe_load(run_dir.config_path.read_text()) or {})
    if not has_config and not run_dir.metrics_path.exists():
        return None
    marker, started = directory / "done-pretrain.json", directory / "started.json"
    return Run(
        path=directory,
        name=directory.resolve().name,
        config=read_run_config(directory) if has_config else None,
        log=_read_log(run_dir.metrics_path) if run_dir.metrics_path.exists() else [],
        versions=read_object(marker).get("versions", {}) if marker.exists() else {},
        provenance=read_object(started).get("provenance", {}) if started.exists() else {},
        weights_sha256=_newest_weights(run_dir.checkpoints_dir),
    )


def _newest_weights(checkpoints_dir: Path) -> str:
    manifests = sorted(checkpoints_dir.glob("step-*/manifest.json"))
    return read_object(manifests[-1])["model.safetensors"]["sha256"] if manifests else ""


def _read_log(path: Path) -> list[dict[str, Any]]:
    """The logged objects by step; the later one wins where a resumed run repeats a step."""
    by_step: dict[int, dict[str, Any]] = {}
    lines = path.read_text().split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            by_step[int(entry["step"])] = {**by_step.get(int(entry["step"]), {}), **entry}
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # a line without its newline is still being written
                continue
            raise DataError(f"{path}:{number} is not a log object with a step ({error}); remove that line") from error
    return [by_step[step] for step in sorted(by_step)]


def _newest(scores: Sequence[Score]) -> tuple[Score, ...]:
    """One score an encoder, task and statistics; of copies, the one whose path sorts last."""
    kept = {(score.model, score.encoder_hash, score.task, score.statistics): score for score in scores}
    return tuple(kept.values())


def _without_stale(scores: Sequence[Score], runs: Sequence[Run]) -> list[Score]:
    """The scores, but for those that a run got before it was trained on; a warning names them."""
    weights = {run.path: run.weights_sha256 for run in runs}
    kept = []
    for score in scores:
        owner = score.path.parent.parent
        is_own = score.model == owner.resolve().name and bool(score.encoder_hash)
        # A score knows the weights by the first digits of their hash.
        if is_own and weights.get(owner) and not weights[owner].startswith(score.encoder_hash):
            logger.warning("%s is of an earlier checkpoint and is left out; probe %s again", score.path, owner)
        else:
            kept.append(score)
    return kept


def _read_ledger(directory: Path) -> Ledger | None:
    marker, table = directory / "done-prepare.json", directory / "ledger.parquet"
    if not marker.exists() and not (table.exists() and (directory / "manifest.parquet").exists()):
        return None  # `embed` keeps a ledger too, of the same files
    counts: Counter[tuple[str, str]] = Counter()
    if table.exists():
        try:
            rows = pq.read_table(table, columns=["status", "reason"]).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{table} cannot be read ({error}); run `musicssl prepare` again") from error
        counts.update((str(row["status"]), str(row["reason"] or "")) for row in rows)
    return Ledger(path=directory, facts=read_object(marker) if marker.exists() else {}, counts=counts)


def _paper_order(run: Run) -> tuple[bool, int, str, Path]:
    """MusicHuBERT before Music2Vec, the paper's presets in its order, then by name."""
    is_music2vec = run.config is not None and not run.config.uses_labels
    printed = list(PRESET_ROWS)
    preset = run.config.preset if run.config else ""
    return is_music2vec, printed.index(preset) if preset in printed else len(printed), run.name, run.path


def _with_unique_names(runs: tuple[Run, ...], root: Path) -> tuple[Run, ...]:
    times = Counter(run.name for run in runs)
    return tuple(
        run if times[run.name] == 1 else Run(**{**vars(run), "name": str(run.path.relative_to(root))}) for run in runs
    )
