"""Figures of a sweep: overlaid losses, bars by task and setting, parallel coordinates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex
from matplotlib.ticker import MaxNLocator

from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.svg import BLUE, GREEN, GREY, INK, ORANGE, RED, finish, panels, shortened, styled, to_svg
from ray_musicssl.reporting.sweep import Effect, FoundSweep, SweepTrial
from ray_musicssl.reporting.sweep_tables import value_text

_COLORS = (BLUE, ORANGE, GREEN, RED, GREY, "#8a63b8", "#b0853a", "#4fa3a8")
_MAP = colormaps["viridis"]
_LEGEND_MOST = 16
_SMOOTHED = 9  # logged values, where there are many


@styled
def losses(trials: Sequence[SweepTrial]) -> str:
    """The loss of every trial that logged any, overlaid."""
    axes = panels(width=8.6, height=3.4)[0]
    for number, trial in enumerate(trials):
        series = trial.run.series("pretrain/loss") if trial.run else None
        if not series:
            continue
        steps, values = np.asarray(series.steps, float), np.asarray(series.values)
        if len(values) > 4 * _SMOOTHED:
            half = _SMOOTHED // 2
            values = np.convolve(np.pad(values, half, mode="edge"), np.ones(_SMOOTHED) / _SMOOTHED, mode="valid")
        color = _COLORS[number % len(_COLORS)]
        style = ("-", "--", ":", "-.")[number // len(_COLORS) % 4]
        axes.plot(steps, values, style, color=color, label=shortened(trial.record.name), linewidth=1.2)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    finish(axes, legend=False)
    if len(trials) <= _LEGEND_MOST:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return to_svg(axes, title="Loss of every trial")


@styled
def effect_bars(effect: Effect) -> str:
    """Mean points on each task, a bar a value of the setting."""
    tasks = list(effect.by_task)
    axes = panels(width=5.4, height=2.7)[0]
    width = 0.8 / len(effect.values)
    for place, value in enumerate(effect.values):
        heights = [effect.by_task[task][place] or 0.0 for task in tasks]
        x = np.arange(len(tasks)) + (place - (len(effect.values) - 1) / 2) * width
        axes.bar(x, heights, width * 0.92, label=value_text(value), color=_COLORS[place % len(_COLORS)])
    axes.set_xticks(range(len(tasks)), [task_title(task) for task in tasks], rotation=0 if len(tasks) < 5 else 40)
    axes.set_ylabel("points")
    axes.set_title(effect.key, loc="left")
    finish(axes, legend=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return to_svg(axes, title=f"Scores by {effect.key}")


@styled
def parallel(sweep: FoundSweep) -> str:
    """A line a trial through its value of each setting, to its score; the colour is the score's."""
    trials = list(reversed(sweep.scored))  # the best is drawn last, on top
    keys = [key for key in sweep.keys if len({str(t.record.settings.get(key)) for t in trials}) > 1]
    scores = [100 * float(trial.record.score or 0) for trial in trials]
    shade = Normalize(min(scores), max(scores) if max(scores) > min(scores) else min(scores) + 1)
    axes = panels(width=8.6, height=3.2)[0]
    places = {key: _places([trial.record.settings.get(key) for trial in trials]) for key in keys}
    for trial, score in zip(trials, scores, strict=True):
        ys = [places[key][_word(trial.record.settings.get(key))] for key in keys] + [shade(score)]
        # The colour map's ends are too dark and too bright for one of the pages.
        color = to_hex(_MAP(0.15 + 0.7 * float(shade(score))))
        axes.plot(range(len(ys)), ys, color=color, linewidth=1.6, alpha=0.9)
    for x, key in enumerate(keys):
        for word, y in places[key].items():
            axes.text(x + 0.02, y + 0.02, word, fontsize=8)
    for y, score in ((0.0, shade.vmin), (1.0, shade.vmax)):
        axes.text(len(keys) + 0.02, y, f"{score:.1f}", fontsize=8)
    _lanes(axes, [*keys, f"score ({sweep.metric})"])
    return to_svg(axes, title="Parallel coordinates of the settings and the score")


def _lanes(axes: Axes, titles: Sequence[str]) -> None:
    for x in range(len(titles)):
        axes.axvline(x, color=INK, alpha=0.35, linewidth=0.7)
    axes.set_xticks(range(len(titles)), [title.replace(".", ".\n") for title in titles], fontsize=8)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(titles) - 0.7)
    axes.set_ylim(-0.06, 1.1)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Where each value stands on its axis: numbers in order, evenly; those that lack it below."""
    distinct = list(dict.fromkeys(values))
    are_numbers = all(isinstance(value, int | float) for value in distinct if value is not None)
    there = [value for value in distinct if value is not None]
    ordered = sorted(there) if are_numbers else sorted(there, key=str)
    ordered = [*([None] if None in distinct else []), *ordered]
    return {_word(value): place / max(1, len(ordered) - 1) for place, value in enumerate(ordered)}


def _word(value: Any) -> str:
    return value_text(value)
