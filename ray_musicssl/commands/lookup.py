"""Commands that only look: presets, tasks, the machine."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ray_musicssl.commands.options import Json, Scale, SplitLists, print_rows
from ray_musicssl.errors import ConfigError, DataError


def presets(
    action: Annotated[str, typer.Argument(help="`list` or `show`.")] = "list",
    name: Annotated[str, typer.Argument(help="The preset to show.")] = "",
    scale: Scale = "",
    as_json: Json = False,
) -> None:
    """List the presets, or show one: what it changes, the paper's scores, its cost and all its settings."""
    if action == "list":
        print_rows(_preset_rows(as_json=as_json), as_json=as_json)
        return
    if action != "show" or not name:
        raise ConfigError(f"presets {action} {name}: write `musicssl presets` or `musicssl presets show NAME`")
    from ray_musicssl.commands.preset_sheet import describe_preset, print_preset

    sheet = describe_preset(name, scale)
    if as_json:
        print(json.dumps(sheet))
    else:
        print_preset(sheet)


def _preset_rows(*, as_json: bool) -> list[dict[str, Any]]:
    """Name, sentence and, for a model of the paper, its average score there."""
    from ray_musicssl.config.loading import describe_presets
    from ray_musicssl.reporting.paper import PRESET_ROWS

    averages = {name: row.average for name, row in PRESET_ROWS.items()}
    nothing = None if as_json else ""
    return [{**row, "paper_average": averages.get(row["name"], nothing)} for row in describe_presets()]


def tasks(
    action: Annotated[str, typer.Argument(help="`list` or `check`.")] = "list",
    name: Annotated[str, typer.Argument(help="The task to check, or `all`.")] = "",
    data: Annotated[Path | None, typer.Option(help="The data set's folder, or its parent.")] = None,
    annotations_only: Annotated[bool, typer.Option("--annotations-only", help="Do not look at audio.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if anything is left out.")] = False,
    split_lists: SplitLists = None,
    as_json: Json = False,
) -> None:
    """List the downstream tasks, or check a data set before spending time on it."""
    from ray_musicssl.tasks.listing import check_all, check_task, describe_tasks, faults

    if action == "list":
        print_rows(describe_tasks(), as_json=as_json)
        return
    if action != "check" or not name or data is None:
        raise ConfigError(
            f"tasks {action} {name}: write `musicssl tasks` or `musicssl tasks check NAME|all --data DIR`"
        )
    check = check_all if name == "all" else partial(check_task, name)
    found = check(data, annotations_only=annotations_only, split_lists=split_lists)
    rows = found if isinstance(found, list) else [found]
    if as_json:
        print(json.dumps(found))
    else:
        from ray_musicssl.commands.task_sheet import print_checks

        print_checks(rows)
    if wrong := faults(rows, strict=strict):
        raise DataError(f"{'; '.join(wrong)}; what is listed above says why")


def doctor(
    directory: Annotated[Path, typer.Argument(help="Where runs will go.")] = Path(),
    as_json: Json = False,
) -> None:
    """Say what this machine lacks, and the remedy."""
    from ray_musicssl.doctor import diagnose, findings_table

    findings = diagnose(directory)
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings]))
    else:
        from rich.console import Console

        Console().print(findings_table(findings))
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(6)
