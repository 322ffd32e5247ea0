"""Runs that differ by their seed alone, brought together into one row.

Conventions:
    A score of such a row is the mean over runs of each run's mean over probe seeds; its spread is the standard deviation
    over runs (the population's), so that it holds the noise of pre-training.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ray_musicssl.reporting.model import WIDE, Model
from ray_musicssl.reporting.scores import MetricScore, Score


def join_repeats(models: Sequence[Model]) -> list[Model]:
    """One model for all that differ by a seed alone, where the first of them stood; others stay as they are."""
    groups: dict[str, list[Model]] = {}
    for number, model in enumerate(models):
        groups.setdefault(_recipe(model) or str(number), []).append(model)
    joined: list[Model] = []
    for group in groups.values():
        joined += [_joined(group)] if len(group) > 1 and _may_join(group) else group
    return joined


def _recipe(model: Model) -> str:
    """All that the model depends on but for its seed; empty if that is not known, or the scores are not of the run's end."""
    if model.run is None or model.run.config is None or model.kind == "baseline":
        return ""
    settings = model.run.config.model_dump(mode="json")
    if model.kind == "untrained":
        parts = [settings["preset"], settings["scale"], settings["encoder"]]
        return json.dumps(["untrained", model.is_wide, *parts], sort_keys=True)
    if any(model.run.path not in score.path.parents for score in model.scores.values()):
        return ""  # such as one of the run's earlier checkpoints
    del settings["training"]["seed"]
    return json.dumps(["trained", model.is_wide, settings, dict(model.run.provenance)], sort_keys=True)


def _may_join(group: Sequence[Model]) -> bool:
    """Whether the runs have different seeds, or are one encoder, and were probed in the same way on some tasks."""
    seeds = {model.run.config.training.seed for model in group if model.run and model.run.config}
    shared = _shared_tasks(group)
    recipes = [{model.scores[task].config_hash for model in group} for task in shared]
    encoders = {_weights(model) for model in group}  # one may stand under several names, as the twin of several runs
    are_seeds = len(encoders) in (1, len(seeds))
    return bool(shared) and are_seeds and all(len(hashes) == 1 for hashes in recipes)


def _shared_tasks(group: Sequence[Model]) -> list[str]:
    return [task for task in group[0].scores if all(task in model.scores for model in group)]


def _joined(group: Sequence[Model]) -> Model:
    distinct = {_weights(model): model for model in reversed(group)}
    models = [model for model in group if distinct[_weights(model)] is model]  # the first of equal ones
    name = _common_name(group)
    suffix = WIDE if group[0].is_wide else ""
    if len(models) == 1:  # one encoder under several names
        return replace(models[0], label=f"{name}{suffix}", repeats=tuple(group))
    scores = {task: _mean_score([model.scores[task] for model in models]) for task in _shared_tasks(models)}
    return replace(models[0], label=f"{name} ({len(models)} seeds){suffix}", scores=scores, repeats=tuple(group))


def _weights(model: Model) -> str:
    return next(iter(model.scores.values())).encoder_hash


def _common_name(group: Sequence[Model]) -> str:
    """The runs' name without its seed, if that is the same for all; else their preset."""
    names = {re.sub(r"(?:[-_.](?:seed|s)?[-_=]?)?\d+$", "", model.run.path.name) for model in group if model.run}
    run = group[0].run
    preset = run.config.preset if run and run.config else ""
    name = names.pop() if len(names) == 1 else ""
    return ("random:" if group[0].kind == "untrained" else "") + (name or preset or group[0].label.removesuffix(WIDE))


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
