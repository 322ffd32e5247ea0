"""Live progress of a long stage: how far, how fast, how long still.

On a terminal this is one moving line; elsewhere (a job's log) a plain line every few seconds. Both go to stderr.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_S = 10.0

stderr = Console(stderr=True)


class Meter:
    """Counts what is done of a stage; `advance` and `set_done` move it."""

    def __init__(self, stage: str, total: float, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0.0
        self.note = ""
        self._started = time.monotonic()
        self._first_done = 0.0

    def start_from(self, done: float) -> None:
        """Say what an earlier run had already done, so that the rate counts only new work."""
        self.done = self._first_done = done
        self._moved()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more; `note` is shown behind the bar."""
        self.set_done(self.done + amount, note)

    def set_done(self, done: float, note: str = "") -> None:
        """Set the count; `note` is shown behind the bar."""
        self.done, self.note = done, note or self.note
        self._moved()

    @property
    def rate(self) -> float:
        """Units a second since the stage began."""
        return (self.done - self._first_done) / max(time.monotonic() - self._started, 1e-9)

    def line(self) -> str:
        """The state as plain text."""
        left = (self.total - self.done) / self.rate if self.rate > 0 else float("inf")
        eta = f", {left:.0f} s left" if left != float("inf") else ""
        text = f"{self.stage}: {self.done:.0f}/{self.total:.0f} {self.unit}, {self.rate:.3g} {self.unit}/s{eta}"
        return f"{text}, {self.note}" if self.note else text

    def _moved(self) -> None:
        """Show the new state; the two kinds of meter differ here."""


class _LineMeter(Meter):
    def __init__(self, stage: str, total: float, unit: str) -> None:
        super().__init__(stage, total, unit)
        self._printed = time.monotonic()

    def _moved(self) -> None:
        if time.monotonic() - self._printed >= LINE_EVERY_S:
            self._printed = time.monotonic()
            sys.stderr.write(self.line() + "\n")
            sys.stderr.flush()


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        meter: Meter = task.fields["meter"]
        return Text(f"{meter.rate:.3g} {meter.unit}/s  {meter.note}", style="cyan")


class _BarMeter(Meter):
    def __init__(self, stage: str, total: float, unit: str, bar: Progress) -> None:
        super().__init__(stage, total, unit)
        self._bar = bar
        self._task = bar.add_task(stage, total=total, meter=self)

    def _moved(self) -> None:
        self._bar.update(self._task, completed=self.done)


@contextmanager
def progress(stage: str, total: float, unit: str) -> Iterator[Meter]:
    """Show the progress of `stage` while the block runs, and one closing line with time and rate."""
    started = time.monotonic()
    if stderr.is_terminal:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=stderr, transient=True) as bar:
            meter: Meter = _BarMeter(stage, total, unit, bar)
            yield meter
    else:
        meter = _LineMeter(stage, total, unit)
        yield meter
    took_s = time.monotonic() - started
    closing = f"{stage:<10} {meter.done:.0f} {unit} in {took_s:.1f} s  {meter.note}"
    stderr.print(closing, highlight=False, soft_wrap=True)
