"""Commands that only look: presets, tasks, the machine."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ray_musicssl.commands.options import Json, Scale, print_rows
from ray_musicssl.errors import ConfigError


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
    name: Annotated[str, typer.Argument(help="The task to check.")] = "",
    data: Annotated[Path | None, typer.Option(help="The data set's folder, or its parent.")] = None,
    annotations_only: Annotated[bool, typer.Option("--annotations-only", help="Do not look at audio.")] = False,
    as_json: Json = False,
) -> None:
    """List the downstream tasks, or check a data set before spending time on it."""
    from ray_musicssl.tasks.listing import check_task, describe_tasks

    if action == "list":
        print_rows(describe_tasks(), as_json=as_json)
        return
    if action != "check" or not name or data is None:
        raise ConfigError(f"tasks {action} {name}: write `musicssl tasks` or `musicssl tasks check NAME --data DIR`")
    found = check_task(name, data, annotations_only=annotations_only)
    print(json.dumps(found) if as_json else json.dumps(found, indent=1))


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
