"""One wave of a sweep on Ray Tune: trials that wait for none of each other.

Conventions:
    Tune starts the trials it is given, as many at once as the cluster holds with all their workers, and may end one early.
    What is done and what is not, it is not asked: that is in the trials' own records, and each wave is a Tuner of its own.
"""

import math
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from ray_musicssl.on_ray.room import runs_at_once, trial_cpus
from ray_musicssl.on_ray.trial import OWN_CPUS, TrialJob, run_trial
from ray_musicssl.search_space.axis import Axis
from ray_musicssl.search_space.sheet import SchedulerConfig
from ray_musicssl.sweep_dir import SweepDir

LOSSES = 2  # how often a trial whose process was lost is begun again, from its own checkpoints


@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """Points that Optuna chooses: it is told of those that are known, and asked for the rest."""

    axes: tuple[Axis, ...]
    known: Sequence[tuple[Mapping[str, Any], float]]  # values of the axes -> score
    first: Sequence[Mapping[str, Any]]  # to be tried before any other: those of trials that were begun
    count: int  # how many are still to be tried
    job_at: Callable[[Mapping[str, Any]], TrialJob]
    seed: int


class _NoLines(TrialProgressCallback):
    """Prints nothing; without it, Tune prints a line for each trial that ends, beside our table."""

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        pass

    def on_trial_error(self, *_: Any, **__: Any) -> None:
        pass

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        pass


class Wave(threading.Thread):
    """Runs the trials in a thread of its own.

    `error` is what ended it, if anything did; `well` are the names of trials that Tune ended, or saw end, without a fault.
    """

    def __init__(
        self,
        jobs: Sequence[TrialJob],
        sweep: SweepDir,
        scheduler: SchedulerConfig,
        *,
        suggestions: Suggestions | None = None,
    ) -> None:
        """Check that there is room, inside `session()`; `start` begins.

        Args:
            jobs: the trials; with `suggestions` only an example of them.
            sweep: where they are.
            scheduler: whether trials that do badly are ended early.
            suggestions: who chooses the trials, if they are not given.

        Raises:
            EnvironmentFaultError: if not one of them fits into the cluster.
        """
        super().__init__(name="tune", daemon=True)
        self.error: BaseException | None = None
        self.well: frozenset[str] = frozenset()
        self._name_of = _config_name(suggestions)
        self.at_once = runs_at_once(
            [job.config.scaling for job in jobs],
            own_cpus=OWN_CPUS,
            task_cpus=max(job.judgement.task_cpus for job in jobs),
        )
        self._tuner = _tuner(jobs, sweep, scheduler, suggestions, at_once=self.at_once)

    def run(self) -> None:
        """Fit, until all trials have ended."""
        try:
            fitted = self._tuner.fit()
            self.well = ended_well([fitted[index] for index in range(len(fitted))], self._name_of)
        except Exception as error:  # noqa: BLE001  (kept for the main thread)
            self.error = error


def _config_name(suggestions: Suggestions | None) -> Callable[[Mapping[str, Any]], str]:
    """Gives a trial's name by what Tune has of it."""
    if suggestions:
        return lambda config: suggestions.job_at(config).record.name
    return lambda config: str(config["trial"])


def ended_well(results: Iterable[Any], name: Callable[[Mapping[str, Any]], str]) -> frozenset[str]:
    """The names of trials that ended without a fault of their process.

    Args:
        results: Tune's, of each trial; one that never reported has no `config`, and no scheduler has ended it.
        name: of a trial with such a `config`.
    """
    return frozenset(name(result.config) for result in results if not result.error and result.config)


def _tuner(
    jobs: Sequence[TrialJob],
    sweep: SweepDir,
    scheduler: SchedulerConfig,
    suggestions: Suggestions | None,
    *,
    at_once: int,
) -> tune.Tuner:
    by_name = {job.record.name: job for job in jobs}
    scaling = jobs[0].config.scaling if suggestions else None

    def trainable(config: dict[str, Any]) -> None:
        job = suggestions.job_at(config) if suggestions else by_name[config["trial"]]
        run_trial(job, tune.report)

    def resources(config: dict[str, Any]) -> PlacementGroupFactory:
        of_trial = scaling or by_name[config["trial"]].config.scaling
        return PlacementGroupFactory([{"CPU": trial_cpus(of_trial, OWN_CPUS)}])

    def name(trial: Any) -> str:
        return trial.trial_id if suggestions else str(trial.config["trial"])

    searching: dict[str, Any] = {}
    if suggestions:
        searching = {"search_alg": _optuna(suggestions), "num_samples": suggestions.count}
    return tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space=None if suggestions else {"trial": tune.grid_search(list(by_name))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=at_once,
            scheduler=_scheduler(scheduler, max(job.record.max_steps for job in jobs)),
            trial_name_creator=name,
            trial_dirname_creator=name,
            **searching,
        ),
        run_config=tune.RunConfig(
            # A name of its own each time: nothing of an earlier call is ever taken up by Tune.
            name=uuid.uuid4().hex[:8],
            storage_path=str(sweep.tune_dir),
            verbose=0,
            callbacks=[_NoLines()],
            failure_config=tune.FailureConfig(max_failures=LOSSES),
        ),
    )


def _scheduler(config: SchedulerConfig, max_steps: int) -> TrialScheduler:
    grace = max(1, math.ceil(config.grace_fraction * max_steps))
    common: dict[str, Any] = {"time_attr": "step", "metric": config.watch, "mode": config.mode, "grace_period": grace}
    if config.name == "asha":
        # Beyond the run's end: a trial that comes so far is probed.
        limit = max(2 * max_steps, grace + 1)
        return AsyncHyperBandScheduler(
            **common, max_t=limit, reduction_factor=config.reduction_factor, stop_last_trials=False
        )
    if config.name == "median":
        return MedianStoppingRule(**common)
    return FIFOScheduler()


def _optuna(suggestions: Suggestions) -> Any:
    import optuna  # noqa: PLC0415  (an extra; `tune` has checked that it is installed)
    from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415

    space = {
        axis.key: optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.kind == "loguniform")
        for axis in suggestions.axes
    }
    search = OptunaSearch(
        space,
        metric="score",
        mode="max",
        points_to_evaluate=[dict(point) for point in suggestions.first] or None,
        seed=suggestions.seed,
    )
    for values, score in suggestions.known:
        search.add_evaluated_point(dict(values), score)
    return search
