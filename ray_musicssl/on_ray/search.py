"""A sweep whose trials Optuna chooses, by the scores of those that have ended.

Conventions:
    Optuna is told anew of all that ended each time the sweep is gone on with; nothing of its own is kept. Trials that were
    begun come first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.on_ray.sweep import Sweep
from ray_musicssl.on_ray.trial import TrialJob
from ray_musicssl.on_ray.wave import Suggestions, Wave
from ray_musicssl.search_space.records import new_record, taken_up
from ray_musicssl.search_space.trial import Trial
from ray_musicssl.sweep_dir import TrialRecord


def search_wave(sweep: Sweep) -> Wave | None:
    """The trials that are left for Optuna to choose, inside `session()`; None if there are none.

    Raises:
        ResumeRefusedError: if the directory holds trials of another search.
        EnvironmentFaultError: if the cluster has no room for a trial.
    """
    space = sweep.space
    records = sweep.records()
    _check_same_search(sweep, records)
    ended = [record for record in records if _has_ended(record, sweep.judged_by)]
    count = len(space.trials) - len(ended)
    if count <= 0:
        return None
    first = space.trials[0]
    example = sweep.job_of(first, new_record(first, first.point, sweep.judged_by))
    suggestions = Suggestions(
        axes=space.axes,
        known=[(_point(sweep, record), record.score) for record in ended if record.score is not None],
        first=[_point(sweep, record) for record in records if record not in ended],
        count=count,
        job_at=lambda values: _job_at(sweep, values, example),
        # Not the seed of the call before: Optuna would draw the points that are there already.
        seed=example.config.training.seed + len(records),
    )
    return Wave([example], sweep.dir, space.scheduler, suggestions=suggestions)


def _has_ended(record: TrialRecord, judged_by: str) -> bool:
    """Whether its score, if it has one, may be held against those of this call."""
    return record.status == "stopped" or (record.status == "done" and record.judged_by == judged_by)


def _check_same_search(sweep: Sweep, records: Sequence[TrialRecord]) -> None:
    """Check that what is there are trials of this search: each is the trial that this space has at its point.

    Raises:
        ResumeRefusedError: if one is not.
    """
    axes = {axis.key: axis for axis in sweep.space.axes}
    for record in records:
        if set(record.settings) != set(axes):
            why = f"of the settings {', '.join(record.settings)}, not {', '.join(axes)}"
        elif outside := [key for key, axis in axes.items() if not axis.low <= record.settings[key] <= axis.high]:
            key = outside[0]
            why = f"at {key}={record.settings[key]}, which is not from {axes[key].low} to {axes[key].high}"
        elif (now := sweep.space.suggested(record.settings)).identity != record.identity:
            why = f"of other settings beside its axes ({_change(record, now)})"
        else:
            continue
        raise ResumeRefusedError(
            f"{sweep.dir.run_dir(record.name).path} is a trial {why}: its score says nothing about this search; use another "
            f"--run-dir, or --fresh to run every trial anew"
        )


def _change(record: TrialRecord, now: Trial) -> str:
    """What is not as it was: of each side the words that the other lacks."""
    was, words = [f"preset {record.preset}", *record.overrides], [f"preset {now.preset}", *now.overrides]
    gone, new = ([word for word in one if word not in other] for one, other in ((was, words), (words, was)))
    return f"{', '.join(gone) or 'nothing'} -> {', '.join(new) or 'nothing'}"


def _point(sweep: Sweep, record: TrialRecord) -> dict[str, Any]:
    return {axis.key: record.settings[axis.key] for axis in sweep.space.axes}


def _job_at(sweep: Sweep, values: Mapping[str, Any], example: TrialJob) -> TrialJob:
    trial = sweep.space.suggested(values)
    targets = {name: getattr(example.config, name) for name in ("feature", "joint_features")}
    record = taken_up(new_record(trial, trial.point, sweep.judged_by), sweep.dir.record(trial.name))
    return replace(example, record=record, config=trial.config.model_copy(update=targets))
