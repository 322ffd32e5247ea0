"""Options that several commands share, and how they speak."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Audio = Annotated[str, typer.Option(help="Folder, glob, CSV/JSONL manifest with `path`, or s3:// gs:// URI.")]
ShardsDir = Annotated[Path, typer.Option("--shards", help="What `prepare` wrote.")]
Out = Annotated[Path, typer.Option(help="Where the result goes.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove an earlier result of this stage there first.")]
Json = Annotated[bool, typer.Option("--json", help="JSON alone on stdout.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, e.g. optim.peak_lr=5e-4.")
]
Tasks = Annotated[str, typer.Option(help="Comma-separated task names, or `all`.")]
SplitLists = Annotated[
    Path | None, typer.Option(help="Folder of GTZAN's train_, valid_ and test_filtered.txt, if not in the data folder.")
]
BadFraction = Annotated[float, typer.Option(help="Above this share of unusable files, exit with code 3.")]
Preset = Annotated[str, typer.Option(help="Take the settings of a preset.")]
Scale = Annotated[str, typer.Option(help="The preset in another size: `demo` for minutes on 2 cores.")]


def say_where(path: Path) -> None:
    """Print where a stage's output is."""
    print(f"-> {path}")


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows as JSON alone, or as a table."""
    if as_json:
        print(json.dumps(list(rows)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(", ".join(value) if isinstance(value, list | tuple) else str(value) for value in row.values()))
    Console().print(table)
