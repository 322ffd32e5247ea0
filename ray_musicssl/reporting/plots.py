"""The report's figures, each a function from values to inline SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from ray_musicssl.reporting.found import Run, Series
from ray_musicssl.reporting.model import Model
from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.scoreboard import Scoreboard
from ray_musicssl.reporting.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    finish,
    panels,
    percent,
    shortened,
    styled,
    to_svg,
)

_MOST_POINTS = 400  # of one curve; more do not show at this size
_BEATS_SHOWN_S = 8.0
_CLASSES_NAMED = 24  # in a confusion matrix; of more, as of pitches, only some
_MODEL_COLORS = (BLUE, GREEN, ORANGE, RED)


def _curve(axes: Axes, series: Series, *, label: str, color: str) -> None:
    """A curve; a long one is thinned by averaging neighbours, its raw values faint behind it."""
    if not series:
        return
    steps, values = np.asarray(series.steps, float), np.asarray(series.values)
    width = -(-len(steps) // _MOST_POINTS)
    if width > 1:
        edges = np.arange(0, len(steps), width)
        counts = np.diff(np.append(edges, len(steps)))
        steps, values = np.add.reduceat(steps, edges) / counts, np.add.reduceat(values, edges) / counts
    if len(steps) > 40:
        kernel = np.ones(9) / 9
        smooth = np.convolve(np.pad(values, 4, mode="edge"), kernel, mode="valid")
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        values = smooth
    axes.plot(steps, values, color=color, label=label, marker="o" if len(steps) < 3 else "", markersize=3)


def _steps_axis(axes: Axes) -> None:
    axes.set_xlabel("optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


@styled
def scores(board: Scoreboard) -> str:
    """Every headline score, one band a task: a line leads from each untrained twin to its pre-trained model."""
    lanes = _lanes(board)
    tasks = list(reversed(board.tasks))
    height = 0.9 + 0.22 * -(-len(board.models) // 3) + len(tasks) * (0.14 + 0.12 * len(lanes))
    axes = panels(width=8.6, height=height)[0]
    for row, task in enumerate(tasks):
        for y, lane in zip(row + np.linspace(0.3, -0.3, len(lanes) + 2)[1:-1], lanes, strict=True):
            _lane(axes, lane, task, float(y), is_named=row == 0)
        if row:
            axes.axhline(row - 0.5, color=INK, alpha=0.15, linewidth=0.6)
    axes.set_yticks(range(len(tasks)), [task_title(task) for task in tasks])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, len(tasks) - 0.5)
    axes.set_xlabel("score, points")
    axes.grid(axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    return to_svg(axes, title="Headline scores of every model on every task")


@dataclass(frozen=True)
class _Point:
    """How one model is drawn."""

    model: Model
    color: str
    shape: str
    is_hollow: bool = False


def _lanes(board: Scoreboard) -> list[list[_Point]]:
    """Models that share a height: a trained one after its twin, a twin alone, and all baselines together."""
    twins = {entry.model.label: entry.twin for entry in board.gains()}
    lanes, placed = [], set()
    for k, model in enumerate(board.of_kind("trained")):
        color = _MODEL_COLORS[k % len(_MODEL_COLORS)]
        twin = twins.get(model.label)
        pair = [_Point(twin, color, "o", is_hollow=True)] if twin and twin.label not in placed else []
        lanes.append([*pair, _Point(model, color, "o")])
        placed |= {point.model.label for point in pair}
    lanes += [[_Point(m, GREY, "o", is_hollow=True)] for m in board.of_kind("untrained") if m.label not in placed]
    baselines = [_Point(m, GREY, "Ds^v"[k % 4]) for k, m in enumerate(board.of_kind("baseline"))]
    return [*lanes, baselines] if baselines else lanes


def _lane(axes: Axes, lane: Sequence[_Point], task: str, y: float, *, is_named: bool) -> None:
    found = [(point, score) for point in lane if (score := point.model.headline(task))]
    if len(found) == 2 and found[0][0].is_hollow:
        means = [100 * score.mean for _, score in found]
        axes.plot(means, [y, y], color=found[0][0].color, alpha=0.35, linewidth=2.2, zorder=1.5)
    for point, score in found:
        axes.errorbar(
            100 * score.mean,
            y,
            xerr=100 * score.sd if len(score.values) > 1 else None,
            fmt=point.shape,
            color=point.color,
            markerfacecolor="none" if point.is_hollow else point.color,
            markersize=5,
            elinewidth=1,
        )
    for point in lane if is_named else ():
        face = "none" if point.is_hollow else point.color
        name = shortened(point.model.label)
        axes.plot([], [], point.shape, color=point.color, markerfacecolor=face, markersize=5, label=name)


@styled
def hubert_loss(run: Run) -> str:
    """Masked and unmasked loss beside the label entropy, which is where a model that learns nothing ends."""
    axes = panels()[0]
    _curve(axes, run.series("pretrain/masked_loss"), label="masked frames", color=BLUE)
    _curve(axes, run.series("pretrain/unmasked_loss"), label="unmasked frames", color=GREEN)
    if entropy := run.series("pretrain/label_entropy"):
        axes.axhline(entropy.late_mean(), color=RED, linestyle="--", linewidth=1.2, label="label entropy")
    if not axes.lines:
        _curve(axes, run.series("pretrain/loss"), label="loss", color=BLUE)
    axes.set_ylabel("loss, nats a frame")
    _steps_axis(axes)
    finish(axes)
    return to_svg(axes, title=f"Loss of {run.name}")


@styled
def accuracy(run: Run) -> str:
    """How often the label is guessed."""
    axes = panels()[0]
    _curve(axes, run.series("pretrain/masked_accuracy"), label="masked frames", color=BLUE)
    _curve(axes, run.series("pretrain/unmasked_accuracy"), label="unmasked frames", color=GREEN)
    axes.set_ylabel("labels guessed")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(percent)
    _steps_axis(axes)
    finish(axes)
    return to_svg(axes, title=f"Accuracy of {run.name}")


@styled
def regression_loss(run: Run) -> str:
    """The loss of a Music2Vec run."""
    axes = panels()[0]
    _curve(axes, run.series("pretrain/loss"), label="loss", color=BLUE)
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    _steps_axis(axes)
    finish(axes, legend=False)
    return to_svg(axes, title=f"Loss of {run.name}")


@styled
def spreads(run: Run, *, limit: float | None) -> str:
    """Standard deviation of targets and predictions, and the limit below which the run stops."""
    axes = panels()[0]
    _curve(axes, run.series("pretrain/target_std"), label="targets", color=ORANGE)
    _curve(axes, run.series("pretrain/prediction_std"), label="predictions", color=BLUE)
    if limit:
        axes.axhline(limit, color=RED, linestyle="--", linewidth=1.2, label="limit for targets")
    axes.set_ylabel("spread (std)")
    axes.set_ylim(bottom=0)
    _steps_axis(axes)
    finish(axes)
    return to_svg(axes, title=f"Spread of targets and predictions of {run.name}")


@styled
def small_curves(run: Run, scalars: Mapping[str, str]) -> str:
    """Further scalars of a run, one narrow panel each.

    Args:
        run: the run.
        scalars: logged name -> axis label; those never logged are left out, and at least one is there.
    """
    logged = [(label, series) for name, label in scalars.items() if (series := run.series(name))]
    all_axes = panels(len(logged), width=5.4, height=0.5 + 1.25 * len(logged), shared_x=True)
    for axes, (label, series) in zip(all_axes, logged, strict=True):
        _curve(axes, series, label=label, color=BLUE)
        axes.set_ylabel(label)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        finish(axes, legend=False)
    _steps_axis(all_axes[-1])
    return to_svg(all_axes[0], title=f"Optimiser and throughput of {run.name}")


@styled
def confusion(classes: Sequence[str], matrix: Sequence[Sequence[float]]) -> str:
    """Confusion matrix: each row is a true class, shaded by its share.

    Raises:
        ValueError: if the matrix does not have one row and one column a class.
    """
    counts = np.asarray(matrix, float)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"a confusion matrix of shape {counts.shape} does not fit {len(classes)} classes; probe again")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = panels(width=5.4, height=5.0)[0]
    colors = np.empty((*shares.shape, 4))
    colors[..., :3] = to_rgb(BLUE)
    colors[..., 3] = 0.04 + 0.96 * shares
    axes.imshow(colors, interpolation="none", aspect="equal")
    named = slice(0, len(classes), 1 if len(classes) <= _CLASSES_NAMED else 12)  # an octave of pitches
    size = 8 if len(classes) <= 12 else 6
    axes.set_xticks(range(len(classes))[named], classes[named], rotation=90, fontsize=size)
    axes.set_yticks(range(len(classes))[named], classes[named], fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(classes) <= 12:
        for row, column in np.argwhere(counts > 0):
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7.5)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    return to_svg(axes, title="Confusion matrix")


@styled
def beats(example: Mapping[str, Any]) -> str:
    """The first seconds of a beat activation, with the annotated and the decoded beats."""
    activation = np.asarray(example["activation"], float)
    times = np.arange(len(activation)) / float(example["frame_rate"])
    shown = times <= _BEATS_SHOWN_S
    axes = panels(width=8.6, height=2.3)[0]
    axes.plot(times[shown], activation[shown], color=BLUE, linewidth=1.2, label="activation")
    for name, color, low, high in (("reference", GREEN, 1.05, 1.2), ("decoded", ORANGE, 1.25, 1.4)):
        inside = [time for time in example.get(name, ()) if time <= _BEATS_SHOWN_S]
        axes.vlines(inside, low, high, color=color, linewidth=2.2, label=f"{name} beats")
    axes.set_ylim(0, 1.45)
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlim(0, min(_BEATS_SHOWN_S, float(times[-1]) if len(times) else _BEATS_SHOWN_S))
    axes.set_xlabel("seconds")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return to_svg(axes, title="A beat activation with reference and decoded beats")


@styled
def timings(stages: Sequence[Mapping[str, Any]]) -> str:
    """Seconds of each stage, in the order they ran."""
    rows = list(reversed(stages))
    seconds = [float(row["seconds"]) for row in rows]
    axes = panels(width=8.6, height=0.6 + 0.28 * len(rows))[0]
    bars = axes.barh([str(row["stage"]) for row in rows], seconds, color=BLUE, alpha=0.8, height=0.65)
    axes.bar_label(bars, labels=[_bar_text(row) for row in rows], padding=4, fontsize=8.5)
    axes.set_xlim(0, max(seconds, default=1.0) * 1.25 or 1.0)
    axes.set_xlabel("seconds")
    axes.tick_params(axis="y", length=0)
    return to_svg(axes, title="Seconds of each stage")


def _bar_text(row: Mapping[str, Any]) -> str:
    memory = row.get("peak_rss_gib")
    return f"{float(row['seconds']):.0f} s" + (f", {float(memory):.1f} GiB" if memory else "")
