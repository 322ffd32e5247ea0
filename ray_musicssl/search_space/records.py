"""From a search space to the records of its trials, taking up what an earlier call of the same sweep left.

Conventions:
    A trial is the same trial if its name and its identity are. One that ended under the same judgement, or now is not judged
    at all, is not run again; one that failed is tried again; one that changed is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.reporting.paper import ROWS_DIFFER_IN
from ray_musicssl.run_dir import hash_of, read_json, write_json, write_text
from ray_musicssl.search_space.space import SearchSpace
from ray_musicssl.search_space.trial import Trial
from ray_musicssl.sweep_dir import SweepDir, TrialRecord, differing, write_record

# Keys that a space sets itself come after these.
COMPARED = (*ROWS_DIFFER_IN, "training.max_steps", "encoder.num_layers", "optim.peak_lr", "training.seed")
_OF_LABELS = ("feature.", "clustering.", "joint_features")
_REMEDY = "use another --run-dir, rename the variant, or --fresh to run every trial anew"


def plan_records(
    space: SearchSpace, sweep: SweepDir, *, shards_hash: str, judged_by: str, data: str = ""
) -> dict[str, TrialRecord]:
    """The record of every trial of a space, by name, and write what is new of them.

    Args:
        space: the trials; of a space that Optuna searches, none is planned yet.
        sweep: where they are.
        shards_hash: of the audio they train on.
        judged_by: as `judgement_hash` gives it; empty: nothing is probed, and scores that are there stay.
        data: where the downstream data sets are.

    Raises:
        ResumeRefusedError: if the directory holds another trial of the same name, or a sweep on other audio.
    """
    _check_audio(sweep, shards_hash)
    trials = [] if space.search == "optuna" else list(space.trials)
    before = {trial.name: sweep.record(trial.name) for trial in trials}
    for trial in trials:
        _check_same(trial, before[trial.name], sweep)
    settings = varied(trials)
    records = {
        trial.name: taken_up(new_record(trial, settings[trial.name], judged_by), before[trial.name]) for trial in trials
    }
    write_text(sweep.space_path, space.path.read_text())
    facts = {
        "name": space.name,
        "about": space.about,
        "trials": list(records),
        "tasks": list(space.tasks),
        "metric": space.metric.words,
        "search": space.search,
        "scheduler": space.scheduler.name,
        "left_out": [{"name": left.name, "reason": left.reason} for left in space.left_out],
        "shards": shards_hash,
        "data": data or before_data(sweep),
    }
    write_json(sweep.facts_path, facts)
    for record in records.values():
        write_record(sweep.record_path(record.name), record)
    return records


def before_data(sweep: SweepDir) -> str:
    """Where the data sets were that trials of the sweep were last probed on; empty if they never were."""
    return str(read_json(sweep.facts_path).get("data", "")) if sweep.facts_path.exists() else ""


def judgement_hash(space: SearchSpace, data: str) -> str:
    """The hash of what a score is a score of: tasks, recipe, metric, and the folder of the data sets.

    Args:
        space: the trials.
        data: the folder's resolved path; empty: nothing is probed, and so is what is given.
    """
    if not data:
        return ""
    return hash_of([list(space.tasks), space.probe.model_dump(mode="json"), space.metric.words, data])


def new_record(trial: Trial, settings: Mapping[str, Any], judged_by: str) -> TrialRecord:
    """The record of a trial that has not begun."""
    return TrialRecord(
        name=trial.name,
        variant=trial.variant,
        preset=trial.preset,
        scale=trial.scale,
        overrides=trial.overrides,
        settings=dict(settings),
        identity=trial.identity,
        judged_by=judged_by,
        max_steps=trial.config.training.max_steps,
    )


def taken_up(new: TrialRecord, before: TrialRecord | None) -> TrialRecord:
    """The record that a call begins with: what ended stays, all else waits, its time and hours kept.

    A call that probes nothing leaves scores as they are; one that judges otherwise than the last judges again.
    """
    if before is None:
        return new
    kept = replace(new, wall_s=before.wall_s, cpu_hours=before.cpu_hours, gpu_hours=before.gpu_hours)
    # One that a scheduler ended has no score, however it would be judged.
    is_same = before.status == "done" and new.judged_by in ("", before.judged_by)
    if before.status == "stopped" or is_same:
        return replace(
            kept,
            status=before.status,
            reason=before.reason,
            score=before.score,
            scores=dict(before.scores),
            judged_by=before.judged_by if is_same else new.judged_by,
        )
    return kept


def varied(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """Of each trial the settings by which the trials of a sweep are compared."""
    own = [key for trial in trials for key in (*trial.point, *(word.partition("=")[0] for word in trial.overrides))]
    keys = [*COMPARED, *own]
    return differing({trial.name: _settings(trial.config, keys) for trial in trials}, keys)


def _settings(config: PretrainConfig, keys: Sequence[str]) -> dict[str, Any]:
    """The values at config paths; none of targets that the objective does not use."""
    values = config.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key in keys:
        if key.startswith(_OF_LABELS) and not config.uses_labels:
            continue
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[key] = value if isinstance(value, str | int | float) else str(value)
    return found


def _check_audio(sweep: SweepDir, shards_hash: str) -> None:
    if not sweep.facts_path.exists():
        return
    before = read_json(sweep.facts_path).get("shards")
    if before != shards_hash:
        raise ResumeRefusedError(
            f"{sweep.path} holds a sweep on the shards {before}, not {shards_hash}; use another --run-dir, or --fresh to "
            f"run every trial anew"
        )


def _check_same(trial: Trial, before: TrialRecord | None, sweep: SweepDir) -> None:
    if before is None or before.identity == trial.identity:
        return
    changed = sorted({*trial.overrides} ^ {*before.overrides})
    if trial.preset != before.preset:
        changed.insert(0, f"preset {before.preset} -> {trial.preset}")
    raise ResumeRefusedError(
        f"{sweep.run_dir(trial.name).path} holds another trial of the name {trial.name} (it differs in "
        f"{', '.join(changed) or 'its presets or the trial before it'}); {_REMEDY}"
    )
