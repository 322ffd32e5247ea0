"""Table 1: our models beside the paper's printed rows and the best of the literature.

Conventions:
    Numbers are points (score x 100). Below a model that the paper trained stand its printed row and the difference.
    The paper's nine tasks and the four of MTG-Jamendo are two tables: 21 columns fit no page.
    `table1.csv` has one row a model, task and metric of either.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.reporting.model import Model
from ray_musicssl.reporting.paper import (
    COLUMNS,
    NINE_TASKS,
    PRESET_ROWS,
    SOTA,
    SPEECH_ROWS,
    PaperColumn,
    PaperRow,
    task_title,
)
from ray_musicssl.reporting.scoreboard import Scoreboard
from ray_musicssl.reporting.scores import Score
from ray_musicssl.reporting.tables import NOTHING, Cell, Table, score_text, signed

# The models that the paper's own Table 1 lists, in its order.
_LISTED = (
    SPEECH_ROWS["hubert-base"],
    PRESET_ROWS["musichubert-k2000-mfcc39"],
    SPEECH_ROWS["data2vec-audio-base"],
    PRESET_ROWS["music2vec-vanilla"],
    SOTA,
)
CSV_COLUMNS = (
    *("model", "kind", "task", "metric", "mean", "sd", "num_values", "paper", "difference"),
    *("test_used", "test_expected"),
)

# The published folders' names, with or without their publisher and training data.
_SPEECH_NAMES = {
    "hubert-base": r"(facebook[-/])?hubert-base(-ls960)?",
    "data2vec-audio-base": r"(facebook[-/])?data2vec-audio-base(-960h)?",
}
# Sections of a run's configuration that make it the paper's model; the hidden targets of a second iteration are its own.
_MOST_MISSING = 0.02  # of a test set: published scores, too, lack a broken file or two
_COMPARED = ("encoder", "objective", "masking", "audio", "clustering", "optim")

Points = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class _Part:
    """The columns of one of the two tables."""

    title: str
    columns: tuple[PaperColumn, ...]
    has_average: bool


def average_score(points: Points) -> float | None:
    """The paper's average score: the mean over its nine tasks, a task of two metrics counting as their mean.

    Args:
        points: (task, metric) -> points; others than the paper's columns are ignored.

    Returns:
        The average in points, or None if a column is missing.

    Source: Ma et al. 2023, tables 2 and 3 (the plain mean of their eleven columns does not give the printed values).
    """
    keys = [(column.task, column.metric) for column in COLUMNS if column.task in NINE_TASKS]
    if any(key not in points for key in keys):
        return None
    means = []
    for task in NINE_TASKS:
        of_task = [points[key] for key in keys if key[0] == task]
        means.append(sum(of_task) / len(of_task))
    return sum(means) / len(means)


def model_points(model: Model) -> dict[tuple[str, str], float]:
    """All of a model's scores in points, by task and metric."""
    return {(s.task, name): 100 * value.mean for s in model.scores.values() for name, value in s.metrics.items()}


def printed_row(model: Model) -> PaperRow | None:
    """The paper's row of the same model: a run of its preset, or a speech model by its name; None if it has none."""
    if model.kind != "trained" or model.is_wide:
        return None
    if model.run is not None:
        return PRESET_ROWS.get(model.preset)
    name = next(iter(model.scores.values())).model.replace("_", "-").lower()
    return next((row for preset, row in SPEECH_ROWS.items() if re.fullmatch(_SPEECH_NAMES[preset], name)), None)


def changes(model: Model) -> str:
    """How a run differs from the preset whose printed row stands below it, in a word or two; empty if it does not."""
    config = model.run.config if model.run else None
    if config is None or config.preset not in PRESET_ROWS:
        return ""
    if config.scale:
        return f"scale {config.scale}"
    printed = load_config(PretrainConfig, preset=config.preset)
    same = all(getattr(config, section) == getattr(printed, section) for section in _COMPARED)
    return "" if same and config.training.max_steps == printed.training.max_steps else "changed settings"


def table1(board: Scoreboard, *, is_synthetic: bool = False) -> tuple[Table, ...]:
    """The tables of the nine tasks and of MTG-Jamendo, each if one of its tasks was probed.

    Args:
        board: the models.
        is_synthetic: the data sets are the demo's, which nobody else has scores on.
    """
    nine = _Part("the paper's nine tasks", tuple(c for c in COLUMNS if c.task in NINE_TASKS), has_average=True)
    jamendo = _Part("MTG-Jamendo", tuple(c for c in COLUMNS if c.task not in NINE_TASKS), has_average=False)
    parts = (_probed(part, board) for part in (nine, jamendo))
    return tuple(_table(part, board, is_synthetic=is_synthetic) for part in parts if part.columns)


def _probed(part: _Part, board: Scoreboard) -> _Part:
    """The part without the tasks that no model was probed on."""
    return _Part(part.title, tuple(c for c in part.columns if c.task in board.tasks), part.has_average)


def _table(part: _Part, board: Scoreboard, *, is_synthetic: bool) -> Table:
    rows = [row for model in board.models for row in _rows_of(model, part, board)]
    keys = {(column.task, column.metric) for column in part.columns}
    shown = [printed_row(model) for model in board.models if keys & model_points(model).keys()]
    rows += [_printed_cells(row, part) for row in _LISTED if row not in shown]
    rows.append(_used_cells(part, board))
    caption = (
        f"Table 1, {part.title}: points, mean ± standard deviation over probe seeds, or over pre-training seeds where a "
        "row says so. Printed rows are those of Ma et al. 2023, tables 1 to 3; the best of our rows is bold."
    )
    if part.has_average:
        caption += " The average is the paper's: over its nine tasks, two metrics of one task counting as their mean."
    if any(column.task == "gtzan_rhythm" for column in part.columns):
        caption += " The paper gives beats a tolerance of 20 ms in words; its values look like 70 ms."
    others = {c.task for m in board.models for c in part.columns if (s := m.scores.get(c.task)) and not _is_whole(s)}
    if others and not is_synthetic:
        titles = ", ".join(task_title(task) for task in board.tasks if task in others)
        caption += (
            " No difference is taken on data sets that are not as published, or of whose test set over one item in "
            f"fifty was not used: {titles}."
        )
    if is_synthetic:
        caption += " Our rows are scores on data sets made by the demo: they do not compare with printed ones."
    header = ("model", *(column.title for column in part.columns), *(["average"] if part.has_average else []))
    return Table(header=header, rows=tuple(rows), caption=caption)


def _rows_of(model: Model, part: _Part, board: Scoreboard) -> Iterator[tuple[Cell, ...]]:
    points, printed = model_points(model), printed_row(model)
    if not any((column.task, column.metric) in points for column in part.columns):
        return
    changed = changes(model) if printed else ""
    cells = [Cell(text=f"{model.label} ({changed})" if changed else model.label, mark=model.kind)]
    for column in part.columns:
        score = model.scores[column.task].metrics.get(column.metric) if column.task in model.scores else None
        best = max((p for m in board.models if math.isfinite(p := _rounded(m, column))), default=None)
        cells.append(
            Cell(text=score_text(score), is_best=_rounded(model, column) == best) if score else Cell(text=NOTHING)
        )
    average = average_score(points)
    yield (*cells, *_average_cells(part, average))
    if printed is not None:
        yield _printed_cells(printed, part)
        gaps = [_difference(model, column, printed) for column in part.columns]
        if part.has_average:
            gaps.append(
                None if average is None or printed.average is None or None in gaps else average - printed.average
            )
        texts = [NOTHING if value is None else signed(value) for value in gaps]
        yield (Cell(text="difference", mark="paper"), *(Cell(text=text) for text in texts))


def _difference(model: Model, column: PaperColumn, printed: PaperRow | None) -> float | None:
    """Ours less what is printed, in points; None without either, or on another test set than the published one."""
    key = (column.task, column.metric)
    points = model_points(model).get(key)
    if points is None or printed is None or key not in printed.values:
        return None
    return points - printed.values[key] if _is_whole(model.scores[column.task]) else None


def _is_whole(score: Score) -> bool:
    """Whether the score is of the published test set, or nearly all of it."""
    official = score.official.get("test", 0)
    return not score.is_part and score.used.get("test", official) >= (1 - _MOST_MISSING) * official


def _rounded(model: Model, column: PaperColumn) -> float:
    """A score as it is printed, so that what looks equal is equally good; NaN if there is none."""
    return round(model_points(model).get((column.task, column.metric), math.nan), 1)


def _average_cells(part: _Part, average: float | None) -> list[Cell]:
    if not part.has_average:
        return []
    return [Cell(text=NOTHING if average is None else f"{average:.1f}".replace("-", "−"))]


def _printed_cells(row: PaperRow, part: _Part) -> tuple[Cell, ...]:
    values = [row.values.get((column.task, column.metric)) for column in part.columns]
    texts = [NOTHING if value is None else f"{value:.1f}" for value in values]
    cells = [Cell(text=f"{row.title} (printed)", mark="paper"), *(Cell(text=text) for text in texts)]
    return (*cells, *_average_cells(part, row.average))


def _used_cells(part: _Part, board: Scoreboard) -> tuple[Cell, ...]:
    """How much of each test set was there: the least and the most, where encoders could not use the same items."""
    texts = []
    for column in part.columns:
        scores = [model.scores[column.task] for model in board.models if column.task in model.scores]
        used = sorted({score.used["test"] for score in scores if "test" in score.used})
        expected = max(score.official.get("test", score.expected.get("test", 0)) for score in scores)
        counts = "–".join(f"{count:,}" for count in dict.fromkeys([*used[:1], *used[-1:]]))
        texts.append(f"{counts} of {max(expected, used[-1]):,}" if used else NOTHING)
    ends = [NOTHING] if part.has_average else []
    return (Cell(text="test items used", mark="paper"), *(Cell(text=text) for text in [*texts, *ends]))


def table1_csv(board: Scoreboard) -> str:
    """Every score of every model that is a column of Table 1, in points, beside the printed one."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for model in board.models:
        printed = printed_row(model)
        for column in COLUMNS:
            score = model.scores.get(column.task)
            found = score.metrics.get(column.metric) if score else None
            if score is None or found is None:
                continue
            paper = printed.values.get((column.task, column.metric)) if printed else None
            numbers = [100 * found.mean, 100 * found.sd if len(found.values) > 1 else None]
            difference = _difference(model, column, printed)
            counts = (score.used.get("test", ""), score.expected.get("test", ""))
            names = (model.label, model.kind, column.task, column.metric)
            writer.writerow((*names, *_texts(numbers), len(found.values), *_texts([paper, difference]), *counts))
    return buffer.getvalue()


def _texts(values: Sequence[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.4f}" for value in values]
