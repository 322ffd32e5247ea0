"""A sweep whose trials are planned: what is left of it, and what each trial is given before it begins.

Conventions:
    Codebooks and labels are made once, however many trials need them. What goes wrong for a trial before it begins is that
    trial's failure.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.codebook import Codebook
from ray_musicssl.config.scaling import ScalingConfig
from ray_musicssl.errors import DataError, MusicsslError, StoppedError
from ray_musicssl.on_ray.judge import review_labels
from ray_musicssl.on_ray.label import label
from ray_musicssl.on_ray.room import check_run_room
from ray_musicssl.on_ray.run_targets import RunTargets, fit_targets
from ray_musicssl.on_ray.trial import OWN_CPUS, Judgement, TrialJob
from ray_musicssl.probing.hidden_targets import resolve
from ray_musicssl.search_space.records import before_data, judgement_hash, plan_records
from ray_musicssl.search_space.space import SearchSpace
from ray_musicssl.search_space.trial import Trial
from ray_musicssl.sweep_dir import SweepDir, TrialRecord, read_record, write_record
from ray_musicssl.tasks.listing import make_task
from ray_musicssl.training.checkpoint import newest_checkpoint
from ray_musicssl.training.hparams import write_columns
from ray_musicssl.training.label_choice import choose_labels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep whose records are planned."""

    space: SearchSpace
    dir: SweepDir
    shards: Shards
    judgement: Judgement
    judged_by: str

    @staticmethod
    def planned(space: SearchSpace, sweep: SweepDir, shards: Shards, data: Path | None) -> "Sweep":
        """Check it against what an earlier call left, and write what is new.

        Args:
            space: the trials.
            sweep: where they are.
            shards: what they train on; an absolute path.
            data: downstream data sets; None: nothing is probed.

        Raises:
            ResumeRefusedError: if the directory holds another trial of the same name, or a sweep on other audio.
        """
        folder = str(data.resolve()) if data else ""
        if folder and (before := before_data(sweep)) not in ("", folder):
            logger.warning("trials of %s were probed on %s; they are probed again on %s", sweep.path, before, folder)
        judged_by = judgement_hash(space, folder)
        plan_records(space, sweep, shards_hash=shards.content_hash, judged_by=judged_by, data=folder)
        judgement = Judgement(
            data_dir=Path(folder) if folder else None, tasks=space.tasks, probe=space.probe, metric=space.metric
        )
        return Sweep(space=space, dir=sweep, shards=shards, judgement=judgement, judged_by=judged_by)

    def records(self) -> list[TrialRecord]:
        """Of every trial."""
        if self.space.search == "optuna":
            return [read_record(path) for path in sorted(self.dir.path.glob("runs/*/trial.json"))]
        return [self.record(trial.name) for trial in self.space.trials]

    @property
    def shown_names(self) -> list[str]:
        """The trials to be shown, in their order; none of a search, which shows all that there come to be."""
        return [] if self.space.search == "optuna" else [trial.name for trial in self.space.trials]

    def record(self, name: str) -> TrialRecord:
        """Of one trial."""
        record = self.dir.record(name)
        assert record is not None, "every trial was planned"
        return record

    def left(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those of some trials that have not ended."""
        return [trial for trial in trials if not self.record(trial.name).has_ended]

    def keep(self, record: TrialRecord) -> None:
        """Write a trial's record."""
        write_record(self.dir.record_path(record.name), record)

    def scaling(self, name: str) -> ScalingConfig:
        """What a trial trains on; those that a search added have the scaling of its first."""
        trials = self.space.trials
        return next((trial for trial in trials if trial.name == name), trials[0]).config.scaling

    def write_columns(self) -> None:
        """Name the columns of TensorBoard's HParams page."""
        is_searched = self.space.search == "optuna"  # its trials are not known yet, what they differ in is
        settings = [t.point for t in self.space.trials] if is_searched else [r.settings for r in self.records()]
        write_columns(self.dir.path, settings, self._tags())

    def _tags(self) -> list[str]:
        if self.judgement.data_dir is None:
            return ["pretrain/loss"]
        metrics = {task: list(make_task(task).metrics) for task in self.space.tasks}
        return ["score", *(f"probe/{task}/{name}" for task, names in metrics.items() for name in names)]

    def may_begin(self, trial: Trial) -> bool:
        """Whether the trial that it waits for is done; if not, it has failed."""
        if not trial.after:
            return True
        parent = self.record(trial.after)
        if parent.status == "done":
            return True
        reason = f"waits for {trial.after}, which {parent.status}: {parent.reason or 'no reason is known'}"
        self.keep(replace(self.record(trial.name), status="failed", reason=reason, error=parent.error))
        return False

    def jobs(self, trials: Sequence[Trial]) -> list[TrialJob]:
        """The trials with their codebooks and labels made: each once, however many need it."""
        targets: dict[str, RunTargets] = {}
        for trial in trials:
            with self._failing_alone(trial):
                targets[trial.name] = self._targets(trial)
        self._label_for_all(trials, targets)
        jobs = []
        for trial in trials:
            if trial.name in targets:
                with self._failing_alone(trial):
                    jobs.append(self._job(self.record(trial.name), targets[trial.name]))
        return jobs

    def with_room(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those of some trials that the connected cluster can train and probe; the others have failed."""
        found = []
        for trial in trials:
            with self._failing_alone(trial):
                check_run_room(trial.config.scaling, own_cpus=OWN_CPUS, task_cpus=self.judgement.task_cpus)
                found.append(trial)
        return found

    def _label_for_all(self, trials: Sequence[Trial], targets: dict[str, RunTargets]) -> None:
        """Label in one pass for all trials; if that fails, for each alone, and take out those for which it fails again."""
        try:
            self._label([codebook for found in targets.values() for codebook in found.codebooks])
        except StoppedError:
            raise
        except MusicsslError:
            for trial in [trial for trial in trials if trial.name in targets]:
                found = targets.pop(trial.name)
                with self._failing_alone(trial):
                    self._label(found.codebooks)
                    targets[trial.name] = found

    def _targets(self, trial: Trial) -> RunTargets:
        config = trial.config
        if trial.after:
            checkpoint = newest_checkpoint(self.dir.run_dir(trial.after).checkpoints_dir)
            if checkpoint is None:
                raise DataError(
                    f"{self.dir.run_dir(trial.after).path} has no sound checkpoint; remove it, and it is trained again"
                )
            config = trial.config_after(str(checkpoint.path))
        return fit_targets(
            resolve(config, codebooks_follow=True), self.shards, self.dir.codebooks_dir, lambda _: nullcontext()
        )

    def _label(self, codebooks: Sequence[Codebook]) -> None:
        for labels_dir in label(self.shards, codebooks) if codebooks else ():
            review_labels(self.shards, labels_dir)

    def _job(self, record: TrialRecord, targets: RunTargets) -> TrialJob:
        places = [self.shards.labels_dir / codebook.hash for codebook in targets.codebooks]
        return TrialJob(
            record=record,
            config=targets.config,
            labels=tuple(choose_labels(targets.config, self.shards, places)),
            shards=self.shards,
            sweep=self.dir,
            judgement=self.judgement,
            watch=self.space.scheduler.watch if self.space.scheduler.name != "none" else "",
        )

    @contextmanager
    def _failing_alone(self, trial: Trial) -> Iterator[None]:
        """What goes wrong before a trial begins is that trial's failure."""
        try:
            yield
        except StoppedError:
            raise
        except MusicsslError as error:
            record = self.record(trial.name)
            self.keep(replace(record, status="failed", reason=str(error), error=type(error).__name__))

    def job_of(self, trial: Trial, record: TrialRecord) -> TrialJob:
        """What one trial alone is given.

        Raises:
            MusicsslError: as `fit_codebook` and `label` do.
        """
        targets = self._targets(trial)
        self._label(targets.codebooks)
        return self._job(record, targets)
