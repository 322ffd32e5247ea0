"""The stage `tune`: every trial of a search space trained and probed, several at a time, and a report of all.

Conventions:
    `RUN_DIR/space.yaml`, `sweep.json`, `codebooks/<name>`, `runs/<trial>` (an ordinary run, and `trial.json`), `features`
    (what probes share), `hparams` (TensorBoard's columns), `tune` (Ray Tune's own files), `report.html`.
    The same command goes on: trials that ended are not run again, all others go on from their checkpoints. Ray Tune is given
    only what is left, so nothing of its own state is ever read back.
    Codebooks and labels of a wave are made once before it; a wave waits for the trials that its trials name with `after`.
"""

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ray_musicssl import errors
from ray_musicssl.audio.shard import open_shards
from ray_musicssl.errors import ConfigError, EnvironmentFaultError, MusicsslError, StoppedError
from ray_musicssl.on_ray.search import search_wave
from ray_musicssl.on_ray.session import session
from ray_musicssl.on_ray.sweep import Sweep
from ray_musicssl.on_ray.sweep_board import SweepBoard
from ray_musicssl.on_ray.trial import with_hours
from ray_musicssl.on_ray.wave import Wave
from ray_musicssl.reporting.html import write_report
from ray_musicssl.run_dir import locked
from ray_musicssl.search_space.space import SearchSpace
from ray_musicssl.sweep_dir import SweepDir, TrialRecord
from ray_musicssl.tasks.listing import check_task
from ray_musicssl.training.supervise import stop_on_signal

logger = logging.getLogger(__name__)

POLL_S = 1.0


def tune(space: SearchSpace, *, run_dir: Path, shards: Path, data: Path | None = None, fresh: bool = False) -> Path:
    """Run what is left of a sweep, and give the report's path.

    Args:
        space: the trials.
        run_dir: the sweep.
        shards: what `prepare` wrote.
        data: downstream data sets; None: nothing is probed.
        fresh: run every trial anew.

    Raises:
        ConfigError: if the search needs scores and there is nothing to probe.
        DataError: if shards or a data set are missing or damaged.
        ResumeRefusedError: if `run_dir` holds another trial of the same name, or a sweep on other audio.
        EnvironmentFaultError: if another process is at it, Optuna is wanted and not installed, or the cluster has no room
            for one trial.
        StoppedError: if it was stopped on request; the same command goes on.
        MusicsslError: of the kind of the first trial's, if all of them failed.
    """
    if space.search == "optuna" and not find_spec("optuna"):
        raise EnvironmentFaultError(
            "search: optuna needs the package optuna, which is not installed; `pip install 'ray-musicssl[optuna]'`, or set "
            "search: random"
        )
    opened = open_shards(shards)
    sweep = SweepDir(run_dir.resolve())
    if data is not None:
        for name in space.tasks:
            check_task(name, data, annotations_only=True)  # before hours of training, not after
    elif space.search == "optuna" or space.metric.task:
        raise ConfigError(
            f"the trials of {space.path} are chosen or judged by probe scores; name --data, where the data is"
        )
    with locked(sweep.path):
        sweep.stop_path.unlink(missing_ok=True)
        shutil.rmtree(sweep.tune_dir, ignore_errors=True)
        sweep.clear_removed()
        if fresh:
            _remove_trials(sweep)
        running = Sweep.planned(space, sweep, replace(opened, path=opened.path.resolve()), data)
        _run(running)
        report_path = write_report(sweep.path)
    _judge_end(running.records())
    return report_path


def _remove_trials(sweep: SweepDir) -> None:
    """Remove every run of a sweep: all at once out of sight, so that a kill in between brings no old run back."""
    sweep.put_aside()
    sweep.facts_path.unlink(missing_ok=True)
    sweep.clear_removed()


def _run(sweep: Sweep) -> None:
    """Run the trials that are left, wave after wave."""
    space = sweep.space
    sweep.write_columns()
    if space.search == "optuna":
        with session():
            wave = search_wave(sweep)
            if wave:
                _follow(wave, sweep)
        return
    if not sweep.left(space.trials):
        return
    with session():
        for number in range(space.num_waves):
            left = [trial for trial in sweep.left(space.wave(number)) if sweep.may_begin(trial)]
            jobs = sweep.jobs(sweep.with_room(left))
            if jobs:
                _follow(Wave(jobs, sweep.dir, space.scheduler), sweep)


def _judge_end(records: Sequence[TrialRecord]) -> None:
    """Warn of trials that failed; raise if all did, or if one has neither failed nor ended.

    Raises:
        StoppedError: if something is left to do.
        MusicsslError: of the kind of the first trial's, if all of them failed.
    """
    left = [
        f"{record.name} ({record.status})" for record in records if not record.has_ended and record.status != "failed"
    ]
    if left:
        raise StoppedError(
            f"{len(left)} of {len(records)} trials have not ended: {', '.join(left)}; the same command goes on"
        )
    failed = [record for record in records if record.status == "failed"]
    if not failed:
        return
    if len(failed) == len(records):
        kind = getattr(errors, failed[0].error or "MusicsslError", MusicsslError)
        raise kind(f"all {len(failed)} trials failed; {failed[0].name}: {failed[0].reason}")
    names = ", ".join(record.name for record in failed)
    logger.warning(
        "%d of %d trials failed: %s; the report has the reasons, the same command tries them again",
        *(len(failed), len(records), names),
    )


def _follow(wave: Wave, sweep: Sweep) -> None:
    """Show a wave until it ends or somebody asks to stop; then close the books on its trials."""
    board = SweepBoard(sweep.dir, sweep.shown_names)
    with stop_on_signal(sweep.dir.stop_path), board.shown():
        wave.start()
        while wave.is_alive():
            wave.join(POLL_S)
            board.show()
            if sweep.dir.stop_path.exists() and _passed_on(sweep):
                _close(sweep, wave.well)
                raise StoppedError(f"stopped; the same command goes on from {sweep.dir.path}")
        _close(sweep, wave.well)
    if wave.error is not None:
        lines = str(wave.error).strip().splitlines() or ["no message"]
        raise EnvironmentFaultError(
            f"the sweep ended with {type(wave.error).__name__}: {lines[-1]}; the same command goes on"
        ) from wave.error


def _passed_on(sweep: Sweep) -> bool:
    """Ask every trial that trains to save and stop; whether none trains any more. Probes have saved what is ready."""
    training = [r for r in sweep.records() if r.status == "running" and r.stage == "pretrain"]
    for record in training:
        run_dir = sweep.dir.run_dir(record.name).path
        if run_dir.exists():
            (run_dir / "stop-requested").touch()
    return not training


def _close(sweep: Sweep, well: Collection[str]) -> None:
    """No trial is running any more: one that still says so was ended by the scheduler, or lost.

    Args:
        sweep: the sweep.
        well: the trials that ended without a fault of their process.
    """
    scheduler = sweep.space.scheduler.name
    for running in [record for record in sweep.records() if record.status == "running"]:
        run_dir = sweep.dir.run_dir(running.name)
        record = with_hours(replace(running, stage=""), run_dir, sweep.scaling(running.name))
        if sweep.dir.stop_path.exists():
            sweep.keep(replace(record, status="pending", reason="stopped on request"))
        elif scheduler != "none" and record.name in well:
            sweep.keep(replace(record, status="stopped", reason=f"ended early by the scheduler {scheduler}"))
        else:
            reason = "its process was lost again and again: killed, or out of memory?"
            sweep.keep(replace(record, status="failed", reason=reason, error="EnvironmentFaultError"))
