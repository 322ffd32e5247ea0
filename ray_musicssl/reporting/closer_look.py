"""The section that looks inside the probes: which layers they use, and what they confuse."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray_musicssl.errors import DataError
from ray_musicssl.reporting import plots, probe_plots
from ray_musicssl.reporting.blocks import Block, Figure, Keys
from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.scoreboard import Scoreboard

_MOST_MODELS = 4  # whose layers are drawn
_LAYER_WEIGHTS = (
    "Share of each layer in the probes' weighted sums, {model}. "
    "Short fits hardly move these shares from equality, their start."
)
_LAYER_SCORES = (
    "Headline scores of probes that see one layer alone, test set; bars are the standard deviation, dashed lines the "
    "weighted sum of all layers."
)


def closer_look(board: Scoreboard, key: Keys) -> list[Block]:
    """Layer weights and single layers of pre-trained models, then one example a task; nothing if there is neither."""
    figures = [*_layers(board, key), *_examples(board, key)]
    return [Block(kind="figures", figures=tuple(figures))] if figures else []


def _layers(board: Scoreboard, key: Keys) -> list[Figure]:
    board = board.encoders()
    figures = []
    for model in board.of_kind("trained")[:_MOST_MODELS]:
        tasks = [task for task in board.tasks if task in model.scores and len(model.scores[task].layer_weights) > 1]
        if tasks:
            svg = probe_plots.layer_weights(key(), model, tasks)
            figures.append(Figure(svg=svg, caption=_LAYER_WEIGHTS.format(model=model.label)))
    models = [m for m in board.models if any(score.by_layer for score in m.scores.values())][:_MOST_MODELS]
    tasks = [task for task in board.tasks if any(task in m.scores and m.scores[task].by_layer for m in models)]
    if tasks:
        svg = probe_plots.layer_scores(key(), models, tasks)
        figures.append(Figure(svg=svg, caption=_LAYER_SCORES, is_wide=True))
    return figures


def _examples(board: Scoreboard, key: Keys) -> list[Figure]:
    """For each task, the example of the best pre-trained model that left one, else of the best other model."""
    drawings: dict[str, Callable[[Mapping[str, Any], str, str], str]] = {
        "confusion": lambda d, _, k: plots.confusion(k, d["classes"], d["matrix"]),
        "beats": lambda d, _, k: plots.beats(k, d),
        "tags": lambda d, task, k: probe_plots.tags(k, d, task),
        "regression": lambda d, _, k: probe_plots.ratings(k, d),
    }
    captions = {
        "confusion": "{task}: true classes in rows, answers in columns, shades by row. {model}.",
        "beats": "{task}: activation of one test song, with the annotated beats and those decoded from it. {model}.",
        "tags": "{task}: average precision of each tag, and the share of test items that have it. {model}.",
        "regression": "{task}: answers against ratings, on the scale of the training clips. {model}.",
    }
    figures = []
    for task in board.tasks:
        for detail, draw in drawings.items():
            holders = [m for m in board.models if task in m.scores and detail in m.scores[task].details]
            if not holders:
                continue
            best = max(holders, key=lambda m: (m.kind == "trained", _mean(m.headline(task))))
            score = best.scores[task]
            caption = captions[detail].format(task=task_title(task), model=best.label)
            svg = _drawn(lambda d=draw, s=score, n=detail, t=task: d(s.details[n], t, key()), score.path, detail)
            figures.append(Figure(svg=svg, caption=caption, is_wide=detail in {"beats", "tags"}))
    return figures


def _mean(score: Any) -> float:
    return score.mean if score else -math.inf


def _drawn(draw: Callable[[], str], path: Path, detail: str) -> str:
    try:
        return draw()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: its details.{detail} cannot be drawn ({error!r}); probe that task again") from error
