"""Figures of a closer look at probes: layers, tags, ratings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ray_musicssl.reporting.model import Model
from ray_musicssl.reporting.paper import headline, metric_title, task_title
from ray_musicssl.reporting.svg import BLUE, GREEN, INK, ORANGE, RED, panels, shortened, styled, to_svg

_MODEL_COLORS = (BLUE, GREEN, ORANGE, RED)
_PANELS_A_ROW = 4
_MOST_TAGS = 60  # a class each; more names than that cannot be read


@styled
def layer_weights(model: Model, tasks: Sequence[str]) -> str:
    """The share of each layer in the probes' weighted sums: a row a task, shaded from none to the largest share."""
    rows = [(task, model.scores[task].layer_weights) for task in tasks if task in model.scores]
    weights = np.array([weights for _, weights in rows])
    axes = panels(width=5.4, height=0.9 + 0.26 * len(rows))[0]
    colors = np.empty((*weights.shape, 4))
    colors[..., :3] = to_rgb(BLUE)
    colors[..., 3] = weights / weights.max()
    axes.imshow(colors, interpolation="none", aspect="auto")
    for row, column in np.ndindex(*weights.shape):
        axes.text(column, row, f"{100 * weights[row, column]:.0f}", ha="center", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [task_title(task) for task, _ in rows])
    axes.set_xticks(range(weights.shape[1]))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("layer (0: the transformer's input); share in %")
    return to_svg(axes, title=f"Layer weights of {model.label}")


@styled
def layer_scores(models: Sequence[Model], tasks: Sequence[str]) -> str:
    """Scores of probes on single layers, one panel a task and a curve a model; dashed: the weighted sum of all layers."""
    num_rows = -(-len(tasks) // _PANELS_A_ROW)
    columns = min(_PANELS_A_ROW, len(tasks))
    grid = Figure(figsize=(8.6, 0.6 + 1.7 * num_rows)).subplots(num_rows, columns, squeeze=False)
    flat = [axes for row in grid for axes in row]
    for axes, task in zip(flat, tasks, strict=False):
        for number, model in enumerate(models):
            _layer_curve(axes, model, task, _MODEL_COLORS[number % len(_MODEL_COLORS)])
        axes.set_title(task_title(task))
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in flat[len(tasks) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("points")
    figure = flat[0].get_figure(root=True)
    assert isinstance(figure, Figure)
    named = {name: handle for axes in flat for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(named.values()), list(named), loc="outside upper left", ncols=2)
    return to_svg(flat[0], title="Scores of probes on single layers")


def _layer_curve(axes: Axes, model: Model, task: str, color: str) -> None:
    score = model.scores.get(task)
    if score is None or not score.by_layer:
        return
    metric = headline(task, list(score.metrics))
    found = [layer[metric] for layer in score.by_layer]
    means, spreads = (100 * np.array([getattr(layer, name) for layer in found]) for name in ("mean", "sd"))
    axes.errorbar(range(len(means)), means, yerr=spreads, color=color, marker="o", markersize=3, elinewidth=0.8)
    axes.plot([], [], color=color, marker="o", markersize=3, label=shortened(model.label))
    axes.axhline(100 * score.metrics[metric].mean, color=color, linestyle="--", linewidth=0.9)


@styled
def tags(found: Mapping[str, Any], task: str) -> str:
    """Average precision of each tag, best first, beside what guessing gives: the share of items that have it.

    Raises:
        KeyError: if the details are not those of tags.
    """
    precisions = [float("nan") if value is None else 100 * value for value in found["average_precision"]]
    chances = 100 * np.array(found["positives"], float) / max(int(found.get("num_tracks", 0)), 1)
    order = [int(index) for index in np.argsort(-np.nan_to_num(np.array(precisions), nan=-1.0), kind="stable")][
        :_MOST_TAGS
    ]
    axes = panels(width=8.6, height=2.9)[0]
    places = np.arange(len(order))
    axes.bar(
        places, np.nan_to_num(np.array(precisions))[order], color=BLUE, alpha=0.8, width=0.75, label="average precision"
    )
    if found.get("num_tracks"):
        axes.plot(places, chances[order], ".", color=INK, markersize=4, label="share of items (chance)")
    axes.set_xticks(places, [shortened(found["classes"][index], 22) for index in order], rotation=90, fontsize=6.5)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.7, len(order) - 0.3)
    axes.set_ylim(0, 100)
    axes.set_ylabel("points")
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return to_svg(axes, title=f"{metric_title('average_precision')} of each tag of {task_title(task)}")


@styled
def ratings(found: Mapping[str, Any]) -> str:
    """Answered against true numbers, one panel each.

    Raises:
        ValueError: if answers and outputs are not equally many.
    """
    answers, outputs = (np.array(found[name], float) for name in ("answers", "outputs"))
    if answers.shape != outputs.shape:
        raise ValueError(f"answers {answers.shape} and outputs {outputs.shape} differ in shape; probe again")
    names = list(found["names"])
    grid = Figure(figsize=(5.4, 2.8)).subplots(1, len(names), squeeze=False)[0]
    for axes, name, true, said in zip(grid, names, answers.T, outputs.T, strict=True):
        low, high = float(min(true.min(), said.min())), float(max(true.max(), said.max()))
        axes.plot([low, high], [low, high], color=INK, alpha=0.3, linewidth=0.8)
        axes.plot(true, said, ".", color=BLUE, alpha=0.6, markersize=4)
        axes.set_title(name)
        axes.set_xlabel("rated")
        axes.grid(axis="both")
    grid[0].set_ylabel("answered")
    return to_svg(grid[0], title="Answered against rated numbers")
