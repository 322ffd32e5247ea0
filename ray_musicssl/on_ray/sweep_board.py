"""A sweep while it runs: on a terminal a table that stays in place, elsewhere a line for each change.

Conventions:
    What it shows it reads from the trials' records and `metrics.jsonl`; whoever runs them need not tell.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.live import Live
from rich.table import Table

from ray_musicssl.progress import LINE_EVERY_S, stderr
from ray_musicssl.sweep_dir import SweepDir, TrialRecord
from ray_musicssl.training.metrics_log import read_metrics

_COLORS = {"pending": "dim", "running": "cyan", "done": "green", "stopped": "yellow", "failed": "red"}
_LONGEST_REASON = 60


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial at one moment."""

    record: TrialRecord
    step: int
    loss: float | None
    minutes: float

    @property
    def doing(self) -> str:
        """Its status, and what it is at."""
        record = self.record
        return f"{record.status}: {record.stage}" if record.stage else record.status

    @property
    def line(self) -> str:
        """As plain text."""
        loss = "" if self.loss is None else f", loss {self.loss:.3f}"
        score = "" if self.record.score is None else f", score {100 * self.record.score:.1f}"
        reason = f": {self.record.reason}" if self.record.reason else ""
        return (
            f"{self.record.name}: {self.doing}, step {self.step}/{self.record.max_steps}{loss}{score}, "
            f"{self.minutes:.1f} min{reason}"
        )


class SweepBoard:
    """The rows of a sweep, and how they are shown."""

    def __init__(self, sweep: SweepDir, names: Sequence[str]) -> None:
        self._sweep, self._names = sweep, list(names)
        self._began: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._told_at = time.monotonic()
        self._live: Live | None = None

    def rows(self) -> list[Row]:
        """Every trial that has a record, in the space's order; of a search, which names none before, all that are there."""
        names = self._names or sorted(path.parent.name for path in self._sweep.path.glob("runs/*/trial.json"))
        records = [self._sweep.record(name) for name in names]
        return [self._row(record) for record in records if record]

    def _row(self, record: TrialRecord) -> Row:
        lines = read_metrics(self._sweep.run_dir(record.name).metrics_path)
        last = lines[-1] if lines else {}
        seconds = record.wall_s
        if record.status == "running":
            seconds += time.monotonic() - self._began.setdefault(record.name, time.monotonic())
        return Row(
            record=record, step=int(last.get("step", 0)), loss=last.get("pretrain/loss"), minutes=max(seconds, 0) / 60
        )

    def show(self) -> None:
        """Bring what is shown up to date."""
        rows = self.rows()
        if self._live:
            self._live.update(table(rows))
            return
        is_time = time.monotonic() - self._told_at >= LINE_EVERY_S
        for row in rows:
            is_new = self._told.get(row.record.name, "pending") != row.doing
            if is_new or (is_time and row.record.status == "running"):
                sys.stderr.write(row.line + "\n")
                self._told[row.record.name] = row.doing
        if is_time:
            self._told_at = time.monotonic()
        sys.stderr.flush()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the table in its place while the block runs; its last state stays."""
        if not stderr.is_terminal:
            yield
            self.show()
            return
        with Live(table(self.rows()), console=stderr, refresh_per_second=2) as live:
            self._live = live
            try:
                yield
                self.show()
            finally:
                self._live = None


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table, with what became of each trial."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("trial", "status", "step", "loss", "score", "minutes", ""):
        made.add_column(title, justify="right" if title in ("step", "loss", "score", "minutes") else "left")
    for row in rows:
        record = row.record
        made.add_row(
            record.name,
            f"[{_COLORS[record.status]}]{row.doing}[/]",
            f"{row.step:,}/{record.max_steps:,}",
            "" if row.loss is None else f"{row.loss:.3f}",
            "" if record.score is None else f"{100 * record.score:.1f}",
            f"{row.minutes:.1f}" if row.minutes else "",
            _shortened(record.reason),
        )
    return made


def _shortened(reason: str) -> str:
    flat = " ".join(reason.split()).replace("[", r"\[")
    return flat if len(flat) <= _LONGEST_REASON else flat[: _LONGEST_REASON - 1] + "…"
