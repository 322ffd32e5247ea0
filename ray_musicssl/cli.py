"""The command line: which commands there are, and how errors become messages and exit codes."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from ray_musicssl import __version__
from ray_musicssl.commands import hub, judge, lookup, stages, tune
from ray_musicssl.errors import ConfigError, MusicsslError, StoppedError

# The base of all that is wrong with the words of a command; typer exports only its leaves.
USAGE_ERROR: Any = typer.BadParameter.__mro__[2]
INTERRUPTED = 130  # typer turns Ctrl-C into this code of its own

app = typer.Typer(
    name="musicssl",
    help="Pre-train, compare and ship self-supervised music encoders on a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": stages.demo,
    "prepare": stages.prepare,
    "kmeans": stages.kmeans,
    "label": stages.label,
    "judge": judge.judge,
    "pretrain": stages.pretrain,
    "embed": stages.embed,
    "probe": stages.probe,
    "tune": tune.tune,
    "report": stages.report,
    "pipeline": stages.pipeline,
    "export": hub.export,
    "import": hub.import_weights,
    "submit": stages.submit,
    "demo-data": stages.demo_data,
    "presets": lookup.presets,
    "tasks": lookup.tasks,
    "doctor": lookup.doctor,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if debug:
        os.environ["MUSICSSL_DEBUG"] = "1"
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code.

    Args:
        argv: the words after `musicssl`; None for the process's own.
    """
    try:
        code = app(args=None if argv is None else list(argv), prog_name="musicssl", standalone_mode=False)
    except MusicsslError as error:
        code = _say_error(str(error), error.exit_code)
    except USAGE_ERROR as error:
        code = _say_error(f"{error.format_message()}; `musicssl --help` lists the commands", ConfigError.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    if code == INTERRUPTED:
        code = _say_error("interrupted; the same command goes on from what is done", StoppedError.exit_code)
    sys.exit(code or 0)


def _say_error(message: str, code: int) -> int:
    if os.environ.get("MUSICSSL_DEBUG"):
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
