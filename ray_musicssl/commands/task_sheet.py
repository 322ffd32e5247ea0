"""What `musicssl tasks check` found, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

SHOWN_ITEMS = 5  # of those that a task leaves out: a data set that is not there whole lacks thousands


def print_checks(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of the tasks' splits, then the first of what is left out of each and why, and what to know of it.

    Args:
        rows: what `check_task` gave for each task, or why it cannot be read.
    """
    table = Table(
        "task", "split", *(Column(name, justify="right") for name in ("expected", "usable", "official")), box=None
    )
    said: list[str] = []
    for row in rows:
        if "error" in row:
            table.add_row(row["task"], "[red]cannot be read[/]" if row["is_there"] else "[dim]not there[/]", "", "", "")
            said.append(f"{row['task']}: {row['error']}")
            continue
        for number, (split, counts) in enumerate(row["splits"].items()):
            official = "" if row["official"] is None else f"{row['official'][split]:,}"
            expected, usable = f"{counts['expected']:,}", f"{counts['usable']:,}"
            is_whole = counts["expected"] == counts["usable"]
            task = "" if number else row["task"]
            table.add_row(task, split, expected, usable if is_whole else f"[yellow]{usable}[/]", official)
        if row["reasons"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(row["reasons"].items()))
            said.append(f"{row['task']}: left out {reasons}")
            said += _skipped_lines(row["skipped"])
        said += [f"{row['task']}: {note}" for note in row["notes"]]
    console = Console()
    console.print(table)
    for line in said:
        console.print(escape(line), soft_wrap=True, highlight=False)


def _skipped_lines(skipped: Sequence[Mapping[str, str]]) -> list[str]:
    """A line for each of the first items that are left out, and how to see the others."""
    lines = [
        f"  {item['reason']}: {item['id']} ({item['split'] or 'no split'}), {item['path']}"
        for item in skipped[:SHOWN_ITEMS]
    ]
    rest = len(skipped) - len(lines)
    return [*lines, f"  and {rest:,} more; --json lists all"] if rest else lines
