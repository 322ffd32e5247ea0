"""A search space: every trial of a sweep, resolved and checked before anything starts.

Conventions:
    Trials are variants x grid points x drawn points x seeds, by wave, within a wave in the file's order.
    Adding a variant, a value or a seed leaves names and identities of the other trials as they are; a second value of
    `seeds` alone adds the seed to all names.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ray_musicssl.config.loading import build, merge, parse_overrides
from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.search_space.axis import SUGGESTED_DIGITS, Axis, draw_points, read_axis
from ray_musicssl.search_space.building import ImpossibleError, TrialBuilder
from ray_musicssl.search_space.candidate import Candidate
from ray_musicssl.search_space.document import Document, read_document
from ray_musicssl.search_space.method import check_method, check_scheduler
from ray_musicssl.search_space.metric import Metric, read_metric, read_tasks
from ray_musicssl.search_space.setting import Setting
from ray_musicssl.search_space.sheet import SchedulerConfig, Sheet, read_sheet
from ray_musicssl.search_space.trial import LabelNeed, Trial
from ray_musicssl.search_space.variant import Variant, check_axes, read_variants

MOST_TRIALS = 400  # a grid beyond it is a slip of the pen; and all are checked in two seconds


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A combination that cannot be trained."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What a file asks for."""

    name: str  # of the file, without its ending
    path: Path
    about: str
    trials: tuple[Trial, ...]  # with `search: optuna` its axes' values are only a first guess: see `suggested`
    left_out: tuple[LeftOut, ...]
    axes: tuple[Axis, ...]
    tasks: tuple[str, ...]  # probed after each trial
    probe: ProbeConfig
    metric: Metric
    search: str  # random | optuna
    scheduler: SchedulerConfig
    builder: TrialBuilder  # with `first`, for `suggested`
    first: Candidate

    @property
    def num_waves(self) -> int:
        """How often trials wait for all those before."""
        return 1 + max((trial.wave for trial in self.trials), default=0)

    def wave(self, number: int) -> list[Trial]:
        """The trials of one wave."""
        return [trial for trial in self.trials if trial.wave == number]

    def trial(self, name: str) -> Trial:
        """The trial of a name."""
        return next(trial for trial in self.trials if trial.name == name)

    def labels(self, trials: Iterable[Trial] | None = None) -> list[LabelNeed]:
        """Each codebook that some trials need (None: all), once; a residual after the one it follows."""
        chosen = self.trials if trials is None else trials
        return list({need.key: need for trial in chosen for need in trial.labels}.values())

    def suggested(self, values: Mapping[str, Any]) -> Trial:
        """The trial at other values of the axes, as Optuna suggests them, but for rounding; its name says them.

        Raises:
            ConfigError: if they cannot be trained.
        """
        assert self.search == "optuna", "checked to have one variant and one seed"
        point = tuple(axis.setting(axis.rounded(values[axis.key], SUGGESTED_DIGITS)) for axis in self.axes)
        return self.builder.build(replace(self.first, point=point), {})


def load_space(path: Path, *, overrides: Iterable[str] = (), probe_settings: Iterable[str] = ()) -> SearchSpace:
    """Read a search space and resolve every trial.

    Args:
        path: the YAML file.
        overrides: KEY=VALUE for every trial, over the file's and its variants'.
        probe_settings: KEY=VALUE of the probe, over the file's.

    Raises:
        ConfigError: with file and line, for anything that is wrong with any trial.
        DataError: with file and line, if an encoder or codebook that a trial names is not there.
    """
    document = read_document(path)
    sheet = read_sheet(document)
    tasks = read_tasks(document, sheet.tasks)
    axes = [read_axis(document, key, given) for key, given in sheet.axes.items()]
    variants = read_variants(document, sheet)
    words = _command_words(overrides)
    check_axes(document, variants, [axis.key for axis in axes], words)
    check_method(document, sheet, axes, variants, words)
    candidates = _candidates(document, sheet, axes, variants)
    builder = TrialBuilder(document=document, words=words)
    trials, left_out = _build_all(builder, candidates, skip_impossible=sheet.skip_impossible)
    if sheet.search == "optuna":
        _check_ends(builder, candidates[0], axes)
    check_scheduler(document, sheet.scheduler, trials)
    settings = merge(sheet.probe.model_dump(mode="json"), parse_overrides(probe_settings))
    return SearchSpace(
        name=path.stem,
        path=path,
        about=sheet.about,
        trials=tuple(trials),
        left_out=tuple(left_out),
        axes=tuple(axes),
        tasks=tasks,
        probe=build(ProbeConfig, settings, origin="probe settings"),
        metric=read_metric(document, sheet.metric, tasks),
        search=sheet.search,
        scheduler=sheet.scheduler,
        builder=builder,
        first=candidates[0],
    )


def _command_words(overrides: Iterable[str]) -> tuple[Setting, ...]:
    """The words of the command; `load_config` checks their keys and values."""
    settings = []
    for word in overrides:
        parse_overrides([word])
        key, _, _ = word.partition("=")
        value: Any = parse_overrides([word])
        for part in key.split("."):
            value = value[part]
        settings.append(Setting(key=key, value=value))
    return tuple(settings)


def _candidates(document: Document, sheet: Sheet, axes: Sequence[Axis], variants: Sequence[Variant]) -> list[Candidate]:
    """Variants x points x seeds, by wave."""
    seeds: tuple[int | None, ...] = sheet.seeds or (None,)
    num_points = math.prod(len(axis.values) for axis in axes if axis.is_grid) * (sheet.samples or 1)
    if (count := len(variants) * num_points * len(seeds)) > MOST_TRIALS:
        raise document.error(f"{count} trials are more than {MOST_TRIALS}; take values out", "axes")
    return [
        Candidate(variant=variant, point=point, seed=seed, says_seed=len(seeds) > 1)
        for variant in sorted(variants, key=lambda variant: variant.wave)
        for point, seed in product(_points(document, sheet, axes), seeds)
    ]


def _points(document: Document, sheet: Sheet, axes: Sequence[Axis]) -> list[tuple[Setting, ...]]:
    """Every point of the axes, each in the axes' order; the axis named last moves fastest, drawn ones fastest of all."""
    drawn = [axis for axis in axes if not axis.is_grid]
    grid = product(*(axis.settings() for axis in axes if axis.is_grid))
    draws = draw_points(document, drawn, samples=sheet.samples or 1, seed=sheet.seed) if drawn else [()]
    order = [axis.key for axis in axes]
    return [
        tuple(sorted((*listed, *some), key=lambda setting: order.index(setting.key)))
        for listed in grid
        for some in draws
    ]


def _build_all(
    builder: TrialBuilder, candidates: Iterable[Candidate], *, skip_impossible: bool
) -> tuple[list[Trial], list[LeftOut]]:
    trials: dict[str, Trial] = {}
    by_identity: dict[str, Trial] = {}
    left_out: list[LeftOut] = []
    for candidate in candidates:
        try:
            trial = builder.build(candidate, trials)
        except ImpossibleError as error:
            if not skip_impossible:
                raise
            left_out.append(LeftOut(name=error.trial, reason=error.reason))
            continue
        _refuse_twins(builder.document, candidate.variant, trial, trials, by_identity)
        trials[trial.name] = by_identity[trial.identity] = trial
    if not trials:
        raise builder.document.error(f"no combination can be trained: {left_out[0].reason}", "axes")
    return list(trials.values()), left_out


def _check_ends(builder: TrialBuilder, candidate: Candidate, axes: Sequence[Axis]) -> None:
    """Check the ends of each axis: what Optuna will suggest between them is not known yet."""
    point = candidate.point
    for number, axis in enumerate(axes):
        for end in (axis.low, axis.high):
            moved = (*point[:number], axis.setting(end), *point[number + 1 :])
            try:
                builder.build(replace(candidate, point=moved), {})
            except ImpossibleError as error:
                raise ConfigError(
                    f"{error.place}: {error.reason}; narrow the axis, Optuna may choose any of its values"
                ) from error


def _refuse_twins(
    document: Document,
    variant: Variant,
    trial: Trial,
    by_name: Mapping[str, Trial],
    by_identity: Mapping[str, Trial],
) -> None:
    twin = by_identity.get(trial.identity)
    if twin:
        idle = [key for key, value in trial.point.items() if twin.point.get(key) != value]
        why = f"; {', '.join(idle)} has no effect on what it learns" if idle and twin.variant == trial.variant else ""
        raise document.error(
            f"{trial.name} would train the very same run as {twin.name}{why}; leave one out", *variant.place
        )
    if trial.name in by_name:
        other = by_name[trial.name]
        raise document.error(
            f"two trials have the name {trial.name}: {' '.join(other.overrides)}, and {' '.join(trial.overrides)}; "
            f"rename a variant, or a value",
            *variant.place,
        )
