"""Tables as values: built once, shown in HTML by the template and in Markdown here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ray_musicssl.reporting.model import Model
from ray_musicssl.reporting.paper import headline, metric_title, task_order, task_title
from ray_musicssl.reporting.scoreboard import ModelGains, Scoreboard
from ray_musicssl.reporting.scores import MetricScore

NOTHING = "–"
_MARKS = {"helps": "▲", "ties": "=", "hurts": "▼"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell."""

    text: str
    is_best: bool = False
    mark: str = ""  # helps | ties | hurts | trained | untrained | baseline | paper: colours the cell or its row


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a header; the first `num_text_columns` columns are words, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    num_text_columns: int = 1


def score_text(score: MetricScore) -> str:
    """Mean and spread in points, as `71.2 ± 0.8`; one seed has no spread."""
    mean = f"{100 * score.mean:.1f}"
    return (f"{mean} ± {100 * score.sd:.1f}" if len(score.values) > 1 else mean).replace("-", "−")


def signed(points: float) -> str:
    """Points with their sign, as `+3.1` or `−0.4`."""
    return f"{points:+.1f}".replace("-", "−")


def fits_of(board: Scoreboard) -> str:
    """Over what the means and spreads of the rows are taken."""
    joined = any(len(model.repeats) > 1 for model in board.models)
    return "probe seeds, or over pre-training seeds where a row says so" if joined else "probe seeds"


def probe_table(board: Scoreboard) -> Table:
    """Models by tasks, headline metrics, best of each task marked; a last column where all tasks have a mean."""
    metrics = {task: _headline_of(board, task) for task in board.tasks}
    best = {task: board.best(task) for task in board.tasks}
    rows = []
    for model in board.models:
        cells = [Cell(text=model.label, mark=model.kind)]
        for task in board.tasks:
            score = model.headline(task)
            cells.append(
                Cell(text=score_text(score) if score else NOTHING, is_best=any(model is m for m in best[task]))
            )
        rows.append((*cells, Cell(text=_mean_text(model, board.tasks))))
    return Table(
        header=("model", *(f"{task_title(t)}\n{metric_title(metrics[t])}" for t in board.tasks), "mean\nof the row"),
        rows=tuple(rows),
        caption=f"Points: mean ± standard deviation over {fits_of(board)}. The best of each column is bold. "
        "The spread of one pre-training holds neither the noise of the test set nor that of another pre-training.",
    )


def _headline_of(board: Scoreboard, task: str) -> str:
    metrics = {metric for model in board.models if task in model.scores for metric in model.scores[task].metrics}
    return headline(task, sorted(metrics))


def _mean_text(model: Model, tasks: Sequence[str]) -> str:
    means = [score.mean for task in tasks if (score := model.headline(task))]
    return f"{100 * sum(means) / len(means):.1f}".replace("-", "−") if len(means) == len(tasks) else NOTHING


def gains_table(all_gains: Sequence[ModelGains], tasks: Sequence[str]) -> Table:
    """Trained minus untrained, in points, with a mark for each verdict."""
    rows = []
    for entry in all_gains:
        by_task = {gain.task: gain for gain in entry.gains}
        cells = [Cell(text=entry.model.label, mark="trained")]
        for task in tasks:
            gain = by_task.get(task)
            text = f"{_MARKS[gain.verdict]} {signed(gain.points)}" if gain else NOTHING
            cells.append(Cell(text=text, mark=gain.verdict if gain else ""))
        rows.append(tuple(cells))
    return Table(
        header=("gain over the untrained twin", *(task_title(task) for task in tasks)),
        rows=tuple(rows),
        caption="Points. ▲ pre-training helps, ▼ it hurts, = a tie (under 5 points, or within the spread).",
    )


def all_metrics_table(board: Scoreboard) -> Table:
    """Models by every metric of every task."""
    names = sorted(
        {(task, metric) for model in board.models for task, score in model.scores.items() for metric in score.metrics},
        key=lambda name: (task_order(name[0]), name[1]),
    )
    rows = []
    for model in board.models:
        scores = [model.scores[task].metrics.get(metric) if task in model.scores else None for task, metric in names]
        cells = [Cell(text=score_text(score) if score else NOTHING) for score in scores]
        rows.append((Cell(text=model.label, mark=model.kind), *cells))
    header = [f"{task_title(task)}\n{metric_title(metric)}" for task, metric in names]
    return Table(header=("model", *header), rows=tuple(rows))


def to_markdown(table: Table) -> str:
    """The table in Markdown; the best of a column is bold, and no text can leave its cell or become HTML."""
    header = [markdown_text(title) for title in table.header]
    words = min(table.num_text_columns, len(header))
    rules = ["---"] * words + ["---:"] * (len(header) - words)
    lines = [_markdown_row(header), _markdown_row(rules)]
    for row in table.rows:
        texts = [markdown_text(cell.text) for cell in row]
        lines.append(_markdown_row([f"**{t}**" if c.is_best else t for t, c in zip(texts, row, strict=True)]))
    caption = ["", markdown_text(table.caption)] if table.caption else []
    return "\n".join([*lines, *caption])


def _markdown_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", flat)
