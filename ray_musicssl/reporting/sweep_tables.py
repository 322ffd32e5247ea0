"""Tables of a sweep: its trials and their cost, the paper's rows beside ours, and what each setting goes with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray_musicssl.reporting.paper import PaperColumn, task_title
from ray_musicssl.reporting.sweep import (
    BesidePaper,
    Effect,
    FoundSweep,
    Points,
    SweepTrial,
    columns_of,
    mean_points,
    rank_correlation,
    share_of_orders,
)
from ray_musicssl.reporting.tables import NOTHING, Cell, Table, signed


def trials_table(sweep: FoundSweep) -> Table:
    """Every trial: what it is, how it ended, what it scored, and what it cost; the best of each column marked."""
    keys = sweep.keys
    has_gpus = any(trial.record.gpu_hours for trial in sweep.trials)
    scored = [None if (score := trial.record.score) is None else 100 * score for trial in sweep.trials]
    top = _best(scored)
    best = {task: _best([trial.headline(task) for trial in sweep.trials]) for task in sweep.tasks}
    rows = []
    for trial, score in zip(sweep.trials, scored, strict=True):
        record = trial.record
        cells = [Cell(text=record.name), Cell(text=record.status)]
        cells += [Cell(text=value_text(record.settings.get(key))) for key in keys]
        cells.append(Cell(text=_points(score), is_best=_is(score, top)))
        for task in sweep.tasks:
            points = trial.headline(task)
            cells.append(Cell(text=_points(points), is_best=_is(points, best[task])))
        hours = (record.wall_s / 60, record.cpu_hours, *([record.gpu_hours] if has_gpus else []))
        rows.append((*cells, *(Cell(text=_hours(value)) for value in hours)))
    costs = ("minutes", "CPU hours", *(["GPU hours"] if has_gpus else []))
    titles = [task_title(task) for task in sweep.tasks]
    return Table(
        header=("trial", "status", *map(key_title, keys), f"score\n({sweep.metric})", *titles, *costs),
        rows=tuple(rows),
        caption="Points. CPU (and GPU) hours are those that its workers held while it trained; minutes are of the whole "
        "trial, probes and waiting for other trials with them.",
        num_text_columns=2,
    )


def failures_table(sweep: FoundSweep) -> Table | None:
    """Trials without a score and why; None if there are none."""
    rows = [
        (Cell(text=trial.record.name), Cell(text=trial.record.status), Cell(text=trial.record.reason or NOTHING))
        for trial in sweep.trials
        if trial.record.status not in ("done", "pending") or trial.record.reason
    ]
    rows += [(Cell(text=name), Cell(text="left out"), Cell(text=reason)) for name, reason in sweep.left_out]
    return Table(header=("trial", "status", "reason"), rows=tuple(rows), num_text_columns=3) if rows else None


def paper_table(rows: Sequence[BesidePaper], number: int, *, is_synthetic: bool, is_small: bool) -> Table | None:
    """The paper's table 2 or 3 with our row above each printed one; None if no row of it is there.

    Args:
        rows: of the sweep.
        number: of the paper's table.
        is_synthetic: the data sets are the demo's.
        is_small: the runs are of another scale than the paper's.
    """
    chosen = [row for row in rows if row.printed.table == number]
    columns = columns_of(chosen)
    if not columns:
        return None
    made: list[tuple[Cell, ...]] = []
    for row in chosen:
        made.append(_row(", ".join(row.names), "trained", row.points, columns))
        made.append(_row(f"{row.printed.title} (printed)", "paper", row.printed.values, columns))
    made.append(_correlations(chosen, columns))
    caption = (
        f"Table {number} of Ma et al. 2023 beside ours, in points. The mean is over the columns shown, two of a task counting "
        "as one. The last line is Spearman's correlation of our order of the rows with the paper's: 1 is the same order."
    )
    if is_synthetic or is_small:
        what = [*(["made by the demo"] if is_synthetic else []), *(["of small runs"] if is_small else [])]
        caption += (
            f" Our scores are {' and '.join(what)}: their order may be compared with the paper's, not their size."
        )
    return Table(header=("model", *(column.title for column in columns), "mean"), rows=tuple(made), caption=caption)


def _row(title: str, mark: str, points: Points, columns: Sequence[PaperColumn]) -> tuple[Cell, ...]:
    values = [*(points[column.task, column.metric] for column in columns), mean_points(points, columns)]
    return (Cell(text=title, mark=mark), *(Cell(text=_points(value)) for value in values))


def _correlations(rows: Sequence[BesidePaper], columns: Sequence[PaperColumn]) -> tuple[Cell, ...]:
    keys = [(column.task, column.metric) for column in columns]
    found = [rank_correlation([r.points[key] for r in rows], [r.printed.values[key] for r in rows]) for key in keys]
    order = order_like_paper(rows, columns)
    found.append(order.correlation if order else None)
    texts = [NOTHING if value is None else f"{value:+.2f}".replace("-", "−") for value in found]
    return (Cell(text="rank correlation", mark="paper"), *(Cell(text=text) for text in texts))


@dataclass(frozen=True, kw_only=True)
class OrderLikePaper:
    """How alike our order of the rows and the paper's are."""

    correlation: float  # Spearman's
    chance: float  # the share of all orders that correlate as well


def order_like_paper(rows: Sequence[BesidePaper], columns: Sequence[PaperColumn]) -> OrderLikePaper | None:
    """The order of the rows' means beside the paper's over the same columns; None if there are too few."""
    ours = [mean_points(row.points, columns) or 0.0 for row in rows]
    theirs = [mean_points(row.printed.values, columns) or 0.0 for row in rows]
    correlation = rank_correlation(ours, theirs)
    if correlation is None:
        return None
    return OrderLikePaper(correlation=correlation, chance=share_of_orders(ours, theirs, correlation))


def effect_table(effect: Effect) -> Table:
    """Mean points by value of a setting, the difference from its first value behind."""
    rows = []
    for place, (value, count) in enumerate(zip(effect.values, effect.counts, strict=True)):
        cells = [Cell(text=value_text(value)), Cell(text=str(count))]
        for points in effect.by_task.values():
            own, first = points[place], points[0]
            gap = f" ({signed(own - first)})" if place and own is not None and first is not None else ""
            cells.append(Cell(text=_points(own) + gap))
        rows.append(tuple(cells))
    header = (effect.key, "trials", *(task_title(task) for task in effect.by_task))
    return Table(header=header, rows=tuple(rows))


def key_title(key: str) -> str:
    """A config path over a column: its section above its name."""
    section, _, name = key.rpartition(".")
    return f"{section}.\n{name}" if section else name


def value_text(value: Any) -> str:
    """A setting's value; nothing where it has no effect."""
    return NOTHING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def trial_words(trial: SweepTrial) -> str:
    """What sets a trial apart, as words of the command line."""
    return " ".join(f"{key}={value_text(value)}" for key, value in trial.record.settings.items())


def _points(points: float | None) -> str:
    return NOTHING if points is None else f"{points:.1f}".replace("-", "−")


def _hours(value: float) -> str:
    return f"{value:.2g}" if value and value < 1 else f"{value:,.1f}" if value else NOTHING


def _best(values: Sequence[float | None]) -> float | None:
    return max((round(value, 1) for value in values if value is not None), default=None)


def _is(value: float | None, best: float | None) -> bool:
    return value is not None and round(value, 1) == best
