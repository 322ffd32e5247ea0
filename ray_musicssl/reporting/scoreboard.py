"""Which encoder stands where: models in reading order, and what pre-training gained over the untrained twin.

Conventions:
    A model named `random:RUN` is the untrained twin of RUN: same architecture, no training step.
    Gains are points (score x 100).
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ray_musicssl.reporting.found import Found, Run
from ray_musicssl.reporting.model import WIDE, Kind, Model
from ray_musicssl.reporting.paper import task_order
from ray_musicssl.reporting.repeats import join_repeats
from ray_musicssl.reporting.scores import MetricScore, Score

TWIN_PREFIX = "random:"
BASELINES = ("mfcc", "chroma", "mfcc+semitone")
# Source: five points is about one standard error of a test set of 100 to 200 examples, as the miniature's are.
TIE_POINTS = 5.0

Verdict = Literal["helps", "ties", "hurts"]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A trained model against its untrained twin on one task."""

    task: str
    points: float
    spread: float  # of the difference, over probe seeds; test-set noise is not in it
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class ModelGains:
    """Every task that a trained model and its twin were both probed on."""

    model: Model
    twin: Model
    gains: tuple[Gain, ...]


@dataclass(frozen=True, kw_only=True)
class Scoreboard:
    """All models and tasks, in reading order."""

    models: tuple[Model, ...]  # trained, their twins in the same order, hand-made baselines
    tasks: tuple[str, ...]

    def best(self, task: str) -> tuple[Model, ...]:
        """The models whose headline is the highest as printed (one decimal)."""
        scores = [(model, model.headline(task)) for model in self.models]
        means = [(model, round(100 * s.mean, 1)) for model, s in scores if s and math.isfinite(s.mean)]
        return tuple(model for model, mean in means if mean == max(other for _, other in means))

    def of_kind(self, kind: Kind) -> list[Model]:
        """The models of one kind, in order."""
        return [model for model in self.models if model.kind == kind]

    def encoders(self) -> "Scoreboard":
        """The same with one row an encoder."""
        return replace(self, models=tuple(model for model in self.models if not model.is_second))

    def gains(self) -> tuple[ModelGains, ...]:
        """Each trained model that has an untrained twin, with its gains."""
        pairs = [(model, self._twin(model)) for model in self.of_kind("trained")]
        return tuple(ModelGains(model=m, twin=t, gains=_gains(m, t, self.tasks)) for m, t in pairs if t)

    def _twin(self, model: Model) -> Model | None:
        """The untrained model of the same runs, or of runs with the same first weights; of the same name where no run is known.

        Rather one that was probed alike.
        """
        untrained = sorted(self.of_kind("untrained"), key=lambda twin: twin.is_wide != model.is_wide)
        for known_by in (_runs, _first_weights):
            if twin := next((m for m in untrained if known_by(model) & known_by(m)), None):
                return twin
        runs = _runs(model)
        names = _names(model)
        return next((m for m in untrained if names & _names(m) and not (runs and _runs(m))), None)


def scoreboard(found: Found) -> Scoreboard:
    """Put the scores in reading order."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in found.scores:
        groups.setdefault((score.model, score.encoder_hash), []).append(score)
    labels = _labels(groups, found.root)
    models = [model for key, scores in sorted(groups.items()) for model in _models(labels[key], key[0], scores, found)]
    order = {run.path: k for k, run in enumerate(found.runs)}
    models.sort(key=lambda model: order.get(model.run.path, len(order)) if model.run else len(order))
    models = join_repeats(models)
    trained = [model for model in models if model.kind == "trained"]
    positions = {name: k for k, model in reversed(list(enumerate(trained))) for name in _names(model)}
    untrained = [model for model in models if model.kind == "untrained"]
    untrained.sort(key=lambda model: min((positions.get(name, len(trained)) for name in _names(model)), default=0))
    baselines = [model for model in models if model.kind == "baseline"]
    tasks = sorted({score.task for score in found.scores}, key=task_order)
    return Scoreboard(models=(*trained, *untrained, *baselines), tasks=tuple(tasks))


def _labels(groups: Mapping[tuple[str, str], Sequence[Score]], root: Path) -> dict[tuple[str, str], str]:
    """A label for every (model, weights): the name; where that is shared, its place too; then the weights as well."""
    places = {key: scores[0].path.parent.parent.relative_to(root) for key, scores in groups.items()}
    times = Counter(name for name, _ in groups)
    times_there = Counter((name, places[name, weights]) for name, weights in groups)
    labels = {}
    for name, weights in groups:
        place = places[name, weights]
        words = [str(place)] if times[name] > 1 else []
        words += [f"weights {weights[:8]}"] if times_there[name, place] > 1 else []
        labels[name, weights] = f"{name} ({', '.join(words)})" if words else name
    return labels


def _models(label: str, name: str, scores: Sequence[Score], found: Found) -> list[Model]:
    """One encoder, once for each of the statistics that its probes saw; scores of frames are those of either."""
    by_name: Kind = "untrained" if name.startswith(TWIN_PREFIX) else "baseline" if name in BASELINES else "trained"
    rows = [
        Model(
            label=label,
            kind=scores[0].source_kind or by_name,
            run=_run_of(name, scores[0], found.runs),
            scores={score.task: score for score in scores if score.statistics in ("", statistics)},
        )
        for statistics in sorted({score.statistics for score in scores} - {""}) or [""]
    ]
    first, *others = [replace(row, label=f"{label}{WIDE}") if row.is_wide else row for row in rows]
    return [first, *(replace(other, is_second=True) for other in others)]


def _run_of(name: str, score: Score, runs: Sequence[Run]) -> Run | None:
    """The run that the score file says it is of, else the one around it, else the only one of that name."""
    named = [run for run in runs if score.source_path and run.path.resolve() == Path(score.source_path)]
    around = sorted((run for run in runs if run.path in score.path.parents), key=lambda run: len(run.path.parts))
    last = Path(name.removeprefix(TWIN_PREFIX)).name
    alike = [run for run in runs if last in {run.name, run.path.name}]
    found = named or around[-1:] or (alike if len(alike) == 1 else [])
    return found[0] if found else None


def _runs(model: Model) -> frozenset[Path]:
    return frozenset(one.run.path for one in model.singles if one.run is not None)


def _first_weights(model: Model) -> frozenset[str]:
    """What the weights before any training depend on: equal for runs that differ by their data or length."""
    configs = [one.run.config for one in model.singles if one.run is not None and one.run.config is not None]
    return frozenset(
        json.dumps([c.preset, c.scale, c.encoder.model_dump(mode="json"), c.init_from, c.training.seed], sort_keys=True)
        for c in configs
    )


def _names(model: Model) -> frozenset[str]:
    """What a twin may call this model or one that it stands for: the name in its scores, the last part of it, its run's."""
    names = {
        part for one in model.singles for part in (one.run.name if one.run else "", _raw(one), Path(_raw(one)).name)
    }
    return frozenset(names - {""})


def _raw(model: Model) -> str:
    return next(iter(model.scores.values())).model.removeprefix(TWIN_PREFIX)


def _gains(model: Model, twin: Model, tasks: Sequence[str]) -> tuple[Gain, ...]:
    """Of the tasks on which both were probed by one recipe: another one is another ruler."""
    alike = [t for t in tasks if t in model.scores and t in twin.scores and _recipe(model, t) == _recipe(twin, t)]
    if model.is_second:  # frames have one score, and the first row has its gain
        alike = [t for t in alike if model.scores[t].statistics]
    pairs = [(task, model.headline(task), twin.headline(task)) for task in alike]
    gains = [compare(task, ours, theirs) for task, ours, theirs in pairs if ours and theirs]
    return tuple(gain for gain in gains if math.isfinite(gain.points))


def _recipe(model: Model, task: str) -> str:
    return model.scores[task].config_hash


def compare(task: str, trained: MetricScore, untrained: MetricScore) -> Gain:
    """Say whether pre-training helps, ties (within the spread, or under five points) or hurts."""
    points = 100 * (trained.mean - untrained.mean)
    spread = 100 * math.hypot(trained.sd, untrained.sd)
    is_tie = round(abs(points), 1) < TIE_POINTS or abs(points) <= spread
    return Gain(
        task=task, points=points, spread=spread, verdict="ties" if is_tie else "helps" if points > 0 else "hurts"
    )
