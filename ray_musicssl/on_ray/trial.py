"""One trial of a sweep: a run of `pretrain`, then its probes; inside an actor of Ray Tune.

Conventions:
    `runs/<trial>/trial.json` says how far it came. Whatever goes wrong in a trial is written there and ends that trial alone.
    A trial begun again goes on from its own checkpoints, features and scores.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.label_set import LabelSet
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.config.scaling import ScalingConfig
from ray_musicssl.errors import EnvironmentFaultError, MusicsslError, StoppedError
from ray_musicssl.on_ray.pretrain import pretrain
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.reporting.paper import headline
from ray_musicssl.reporting.sweep import task_mean
from ray_musicssl.run_dir import RunDir, locked
from ray_musicssl.search_space.metric import Metric
from ray_musicssl.sweep_dir import SweepDir, TrialRecord, write_record
from ray_musicssl.training.hparams import begin_session, end_session
from ray_musicssl.training.metrics_log import read_metrics

logger = logging.getLogger(__name__)

OWN_CPUS = 0.05  # of the process around a run: it waits
PROBE_CPUS = 1.0  # of each task that its probes start
POLL_S = 1.0
ORPHANS_END_S = 120.0  # what a killed sweep left of a trial ends sooner

Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What trials are judged by."""

    data_dir: Path | None  # None: they are not
    tasks: tuple[str, ...]
    probe: ProbeConfig
    metric: Metric

    @property
    def task_cpus(self) -> float:
        """What each task asks for that judges a trial after its training; 0: there are none."""
        return PROBE_CPUS if self.data_dir else 0.0

    def score(self, scores: Scores) -> float | None:
        """The number that stands for a trial; None if it was not probed on what that needs, or a score of it is NaN."""
        found = scores.get(self.metric.task, {})
        if self.metric.task:
            score = found.get(self.metric.name or headline(self.metric.task, list(found))) if found else None
        elif set(scores) == set(self.tasks):
            score = sum(task_mean(task, own) for task, own in scores.items()) / len(scores)
        else:
            score = None
        return score if score is not None and math.isfinite(score) else None


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """All that a trial needs; every path is absolute."""

    record: TrialRecord
    config: PretrainConfig  # with codebooks and encoders filled in
    labels: tuple[LabelSet, ...]
    shards: Shards
    sweep: SweepDir
    judgement: Judgement
    watch: str  # the scalar that a scheduler compares trials by; empty: there is none


def run_trial(job: TrialJob, report: Callable[[dict[str, Any]], None]) -> None:
    """Train and probe one trial, and keep its record; errors end here.

    Args:
        job: the trial.
        report: is called with `step` and the watched scalar while it trains, and with `score` at its end.
    """
    path, started = job.sweep.record_path(job.record.name), time.monotonic()
    if job.sweep.stop_path.exists():
        return
    record = replace(job.record, status="running", stage="pretrain", reason="")
    write_record(path, record)
    try:
        record = _run(job, record, report)
    except StoppedError as error:
        record = replace(record, status="pending", reason=str(error))
    except MusicsslError as error:
        record = replace(record, status="failed", reason=str(error), error=type(error).__name__)
    except Exception as error:  # noqa: BLE001  (a trial fails alone; the record says of what)
        record = replace(record, status="failed", reason=f"{type(error).__name__}: {error}", error="MusicsslError")
    record = replace(record, stage="", wall_s=job.record.wall_s + time.monotonic() - started)
    write_record(path, with_hours(record, job.sweep.run_dir(record.name), job.config.scaling))
    if record.status == "done":
        _report_end(job, record, report)


def _run(job: TrialJob, record: TrialRecord, report: Callable[[dict[str, Any]], None]) -> TrialRecord:
    run_dir = job.sweep.run_dir(record.name)
    _wait_until_free(run_dir.path)
    begin_session(run_dir.tensorboard_dir, record.settings)
    _pretrain(job, report)
    if job.judgement.data_dir is None:
        return replace(record, status="done")
    write_record(job.sweep.record_path(record.name), replace(record, stage="probe"))
    found = probe(
        [str(run_dir.path)],
        job.judgement.data_dir,
        job.judgement.tasks,
        [run_dir.path],
        job.judgement.probe,
        cache_dir=job.sweep.features_dir,
    )
    scores = {score.task: {name: spread.mean for name, spread in score.metrics.items()} for score in found}
    score = job.judgement.score(scores)
    tags = {f"probe/{task}/{name}": value for task, own in scores.items() for name, value in own.items()}
    end_session(run_dir.tensorboard_dir, tags | ({} if score is None else {"score": score}), record.max_steps)
    return replace(record, status="done", scores=scores, score=score)


def _wait_until_free(directory: Path) -> None:
    """Wait for the processes of a killed sweep to let go of a run; `pretrain` says who it is if they do not."""
    deadline = time.monotonic() + ORPHANS_END_S
    while time.monotonic() < deadline:
        try:
            with locked(directory):
                return
        except EnvironmentFaultError:
            time.sleep(POLL_S)


def _pretrain(job: TrialJob, report: Callable[[dict[str, Any]], None]) -> None:
    """Train in a thread, and report on it from this one, which Tune may end in the middle of a call."""
    run_dir, errors = job.sweep.run_dir(job.record.name), []

    def train() -> None:
        try:
            pretrain(job.config, job.shards, run_dir, labels=job.labels)
        except Exception as error:  # noqa: BLE001  (raised again below, in the thread that waits)
            errors.append(error)

    thread = threading.Thread(target=train, name=f"trial {job.record.name}", daemon=True)
    thread.start()
    told = 0
    while thread.is_alive():
        thread.join(POLL_S)
        line = _last_line(run_dir.metrics_path) if job.watch else {}
        step = int(line.get("step", 0))
        # The last step is told with the score: a scheduler that ends a trial there must not take its probes.
        if told < step < job.record.max_steps and math.isfinite(line.get(job.watch, math.nan)):
            report({"step": step, job.watch: line[job.watch], "score": math.nan})
            told = step
    if errors:
        raise errors[0]


def _report_end(job: TrialJob, record: TrialRecord, report: Callable[[dict[str, Any]], None]) -> None:
    line = _last_line(job.sweep.run_dir(record.name).metrics_path)
    values = {name: value for name, value in line.items() if name.startswith("pretrain/") or name == "step"}
    report(values | {"score": math.nan if record.score is None else record.score})


def _last_line(path: Path) -> dict[str, float]:
    lines = read_metrics(path)
    return lines[-1] if lines else {}


def with_hours(record: TrialRecord, run_dir: RunDir, scaling: ScalingConfig) -> TrialRecord:
    """The record with what the workers reserved while they trained, over all attempts that logged.

    Its wall time is at least that of its training: an attempt that was ended from outside could not add its own.
    """
    trained_s = _last_line(run_dir.metrics_path).get("sys/elapsed_s", 0.0)
    hours = max(scaling.num_workers, 1) * trained_s / 3600
    return replace(
        record,
        wall_s=max(record.wall_s, trained_s),
        cpu_hours=hours * scaling.cpus_per_worker,
        gpu_hours=hours * scaling.gpus_per_worker,
    )
