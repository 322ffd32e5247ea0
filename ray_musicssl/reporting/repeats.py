"""Runs that differ by their seed alone, brought together into one row.

Conventions:
    A score of such a row is the mean over runs of each run's mean over probe seeds; its spread is the standard deviation
    over runs (the population's), so that it holds the noise of pre-training.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np

from ray_musicssl.reporting.model import Model
from ray_musicssl.reporting.scores import MetricScore, Score


def join_repeats(models: Sequence[Model]) -> list[Model]:
    """One model for all that differ by a seed alone, where the first of them stood; others stay as they are."""
    groups: dict[str, list[Model]] = {}
    for number, model in enumerate(models):
        groups.setdefault(_recipe(model) or str(number), []).append(model)
    return [group[0] if len(group) == 1 else _joined(group) for group in groups.values()]


def _recipe(model: Model) -> str:
    """All that the model depends on but for its seed; empty if that is not known."""
    if model.run is None or model.run.config is None or model.kind == "baseline":
        return ""
    settings = model.run.config.model_dump(mode="json")
    if model.kind == "untrained":
        return json.dumps(["untrained", settings["preset"], settings["scale"], settings["encoder"]], sort_keys=True)
    del settings["training"]["seed"]
    return json.dumps(["trained", settings, dict(model.run.provenance)], sort_keys=True)


def _joined(group: Sequence[Model]) -> Model:
    distinct = {_weights(model): model for model in reversed(group)}
    models = [model for model in group if distinct[_weights(model)] is model]  # the first of equal ones
    label = f"{_common_name([model.label for model in group])} ({len(models)} seeds)"
    if len(models) == 1:  # one encoder under several names
        return replace(models[0], label=_common_name([model.label for model in group]), repeats=tuple(group))
    tasks = dict.fromkeys(task for model in models for task in model.scores)
    scores = {task: _mean_score([m.scores[task] for m in models if task in m.scores]) for task in tasks}
    return replace(models[0], label=label, scores=scores, repeats=tuple(group))


def _weights(model: Model) -> str:
    return next(iter(model.scores.values())).encoder_hash


def _common_name(labels: Sequence[str]) -> str:
    """What the labels begin with, without the beginning of a seed's number; the first label if they share nothing."""
    shared = "".join(
        letters[0] for letters in takewhile(lambda column: len(set(column)) == 1, zip(*labels, strict=False))
    )
    name = re.sub(r"[-_. ]?(?:seed|s)?[-_.= ]*$", "", shared)
    return name if name.strip(":") not in {"", "random"} else labels[0]


def _mean_score(scores: Sequence[Score]) -> Score:
    weights = {len(score.layer_weights) for score in scores}
    by_layer = {len(score.by_layer) for score in scores}
    return replace(
        scores[0],
        metrics=_over_runs([score.metrics for score in scores]),
        layer_weights=tuple(np.mean([score.layer_weights for score in scores], axis=0).tolist())
        if len(weights) == 1
        else (),
        by_layer=tuple(_over_runs(layers) for layers in zip(*(score.by_layer for score in scores), strict=True))
        if len(by_layer) == 1
        else (),
    )


def _over_runs(runs: Sequence[Mapping[str, MetricScore]]) -> dict[str, MetricScore]:
    """Each metric that all runs have, over their means."""
    values = {name: tuple(run[name].mean for run in runs) for name in runs[0] if all(name in run for run in runs)}
    return {
        name: MetricScore(mean=float(np.mean(means)), sd=float(np.std(means)), values=means)
        for name, means in values.items()
    }
