"""A sweep as a report reads it: its trials, what they scored, and which of them the paper trained too.

Conventions:
    Points are scores x 100. A trial stands for a row of the paper if its preset is that row's, nothing that the paper's rows
    differ in was set to another value (but for the number of steps, which a small scale changes), and no other trial of the
    sweep has that preset, but for trials that differ by their seed alone: these count together, as their mean.
    Trials that the space no longer names are told of and count nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

from ray_musicssl.reporting.found import Found, Run, directories
from ray_musicssl.reporting.json_object import read_object
from ray_musicssl.reporting.paper import COLUMNS, PRESET_ROWS, ROWS_DIFFER_IN, PaperColumn, PaperRow, headline
from ray_musicssl.sweep_dir import SweepDir, TrialRecord

SEED = "training.seed"
LEAST_RANKED = 3  # an order of two is right or wrong by a coin's throw

Points = Mapping[tuple[str, str], float]


@dataclass(frozen=True, kw_only=True)
class SweepTrial:
    """One trial, and its run if it has begun."""

    record: TrialRecord
    run: Run | None

    @property
    def points(self) -> dict[tuple[str, str], float]:
        """Its scores by task and metric."""
        return {(task, name): 100 * value for task, own in self.record.scores.items() for name, value in own.items()}

    @property
    def objective(self) -> str:
        """What it learns by; empty if it has not begun."""
        return self.run.config.objective.name if self.run and self.run.config else ""

    def headline(self, task: str) -> float | None:
        """Its headline score on a task, in points."""
        found = self.record.scores.get(task)
        return 100 * found[headline(task, list(found))] if found else None


@dataclass(frozen=True, kw_only=True)
class FoundSweep:
    """The trials of one sweep's space, in its order."""

    path: Path
    name: str
    about: str
    metric: str
    tasks: tuple[str, ...]
    trials: tuple[SweepTrial, ...]
    left_out: tuple[tuple[str, str], ...]  # name, reason
    former: tuple[str, ...] = ()  # trials of an earlier space that this one no longer names; they count nowhere

    @property
    def scored(self) -> list[SweepTrial]:
        """The trials that have a score, the best first."""
        found = [trial for trial in self.trials if trial.record.score is not None]
        return sorted(found, key=lambda trial: -float(trial.record.score or 0))

    @property
    def keys(self) -> list[str]:
        """The settings that differ between trials."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.record.settings))

    def groups(self) -> dict[str, list[SweepTrial]]:
        """The trials that have begun by objective: only those are compared setting by setting."""
        groups: dict[str, list[SweepTrial]] = {}
        for trial in self.trials:
            if trial.objective:
                groups.setdefault(trial.objective, []).append(trial)
        return groups


@dataclass(frozen=True, kw_only=True)
class BesidePaper:
    """One of the paper's rows with ours."""

    printed: PaperRow
    preset: str
    names: tuple[str, ...]  # of the trials that stand for it
    points: Points


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a setting's values go with: the mean over the trials that have each."""

    key: str
    objective: str
    values: tuple[Any, ...]
    counts: tuple[int, ...]  # trials of each value
    by_task: Mapping[str, tuple[float | None, ...]]  # headline points of each value; None where no trial has any


def find_sweeps(found: Found) -> list[FoundSweep]:
    """The sweeps under a report's root.

    Raises:
        DataError: if a file of one is damaged.
    """
    return [_read(SweepDir(path), found) for path in directories(found.root) if SweepDir(path).facts_path.exists()]


def _read(sweep: SweepDir, found: Found) -> FoundSweep:
    facts = read_object(sweep.facts_path)
    runs = {run.path.resolve(): run for run in found.runs}
    there = sorted(path.parent.name for path in sweep.path.glob("runs/*/trial.json"))
    # Of a space that is searched no trial is planned: all that are there are its own.
    names = there if facts.get("search") == "optuna" else facts["trials"]
    records = [sweep.record(name) for name in names]
    trials = [
        SweepTrial(record=record, run=runs.get(sweep.run_dir(record.name).path.resolve()))
        for record in records
        if record is not None
    ]
    return FoundSweep(
        path=sweep.path,
        name=str(facts["name"]),
        about=str(facts["about"]),
        metric=str(facts["metric"]),
        tasks=tuple(facts["tasks"]),
        trials=tuple(trials),
        left_out=tuple((left["name"], left["reason"]) for left in facts.get("left_out", ())),
        former=tuple(name for name in there if name not in names),
    )


def beside_paper(sweep: FoundSweep) -> list[BesidePaper]:
    """The paper's rows that trials of the sweep stand for, in the paper's order."""
    rows = []
    for preset, printed in PRESET_ROWS.items():
        # One run counts once, under however many names.
        own = {trial.record.identity: trial for trial in sweep.trials if _stands_for(trial, preset)}
        trials = list(own.values())
        kinds = [{key: value for key, value in trial.record.settings.items() if key != SEED} for trial in trials]
        scored = [trial for trial in trials if trial.points]
        if not scored or any(kind != kinds[0] for kind in kinds):
            continue
        shared = set.intersection(*(set(trial.points) for trial in scored))
        points = {key: float(np.mean([trial.points[key] for trial in scored])) for key in shared}
        names = tuple(trial.record.name for trial in scored)
        rows.append(BesidePaper(printed=printed, preset=preset, names=names, points=points))
    return rows


def _stands_for(trial: SweepTrial, preset: str) -> bool:
    set_to = {word.partition("=")[0] for word in trial.record.overrides}
    return trial.record.preset == preset and not set_to & set(ROWS_DIFFER_IN)


def columns_of(rows: Sequence[BesidePaper]) -> list[PaperColumn]:
    """The paper's columns that every row has of ours and as printed."""
    return [
        column
        for column in COLUMNS
        if rows and all({(column.task, column.metric)} <= row.points.keys() & row.printed.values.keys() for row in rows)
    ]


def mean_points(points: Points, columns: Sequence[PaperColumn]) -> float | None:
    """The mean over the columns' tasks, several columns of a task counting as their mean, as the paper averages.

    Source: Ma et al. 2023, tables 2 and 3.
    """
    tasks: dict[str, dict[str, float]] = {}
    for column in columns:
        tasks.setdefault(column.task, {})[column.metric] = points[column.task, column.metric]
    means = [task_mean(task, found) for task, found in tasks.items()]
    return float(np.mean(means)) if means else None


def task_mean(task: str, found: Mapping[str, float]) -> float:
    """The number by which a task counts in an average: the mean of its columns in the paper, its headline if one is missing.

    Args:
        task: a task's name.
        found: its scores by metric, at least one.

    Source: Ma et al. 2023, tables 2 and 3: ROC and AP of tags, valence and arousal of emotion count as one task each.
    """
    columns = [column.metric for column in COLUMNS if column.task == task]
    if columns and set(columns) <= set(found):
        return float(np.mean([found[metric] for metric in columns]))
    return found[headline(task, list(found))]


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Spearman's correlation of two orderings; None if they are too short, or one of them has no order at all."""
    if len(ours) < LEAST_RANKED or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return None
    correlation, _ = spearmanr(ours, theirs)
    return float(np.asarray(correlation))


def share_of_orders(ours: Sequence[float], theirs: Sequence[float], correlation: float) -> float:
    """The share of all orders of our rows that correlate with the paper's at least so well: what chance alone gives.

    Source: the exact permutation test of Spearman's correlation; tables 2 and 3 have at most eight rows.
    """
    own, printed = (ranks - ranks.mean() for ranks in (rankdata(ours), rankdata(theirs)))
    found = np.array(list(permutations(own))) @ printed / (np.linalg.norm(own) * np.linalg.norm(printed))
    return float(np.mean(found >= correlation - 1e-9))


def effects(sweep: FoundSweep) -> list[Effect]:
    """What each setting goes with on each task, among trials of the same objective."""
    made = []
    for objective, trials in sweep.groups().items():
        scored = [trial for trial in trials if trial.record.scores]
        for key in (key for key in sweep.keys if key not in ("objective.name", SEED)):
            with_key = [trial for trial in scored if key in trial.record.settings]
            values = _in_order([trial.record.settings[key] for trial in with_key])
            if len(values) < 2:
                continue
            by_value = [[trial for trial in with_key if trial.record.settings[key] == value] for value in values]
            by_task = {task: tuple(_mean(own, task) for own in by_value) for task in sweep.tasks}
            counts = tuple(map(len, by_value))
            made.append(Effect(key=key, objective=objective, values=tuple(values), counts=counts, by_task=by_task))
    return made


def _in_order(values: Sequence[Any]) -> list[Any]:
    distinct = list(dict.fromkeys(values))
    are_numbers = all(isinstance(value, int | float) for value in distinct)
    return sorted(distinct) if are_numbers else sorted(distinct, key=str)


def _mean(trials: Sequence[SweepTrial], task: str) -> float | None:
    points = [value for trial in trials if (value := trial.headline(task)) is not None]
    return float(np.mean(points)) if points else None
