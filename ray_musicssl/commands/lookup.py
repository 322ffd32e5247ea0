"""Commands that only look: presets, tasks, the machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ray_musicssl.commands.options import Json, print_rows
from ray_musicssl.errors import ConfigError


def presets(
    action: Annotated[str, typer.Argument(help="`list` or `show`.")] = "list",
    name: Annotated[str, typer.Argument(help="The preset to show.")] = "",
    as_json: Json = False,
) -> None:
    """List the presets, or show one: what it changes, and all its settings."""
    import yaml

    from ray_musicssl.config.loading import describe_presets, load_config, preset_delta
    from ray_musicssl.config.pretrain import PretrainConfig

    if action == "list":
        rows = describe_presets()
        print_rows(rows, as_json=as_json)
        return
    if action != "show" or not name:
        raise ConfigError(f"presets {action} {name}: write `musicssl presets` or `musicssl presets show NAME`")
    delta, whole = preset_delta(name), load_config(PretrainConfig, preset=name).model_dump(mode="json")
    if as_json:
        print(json.dumps({"name": name, "changes": delta, "settings": whole}))
        return
    print(f"# what {name} changes\n{yaml.safe_dump(delta, sort_keys=False)}\n# all its settings")
    print(yaml.safe_dump(whole, sort_keys=False))


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
