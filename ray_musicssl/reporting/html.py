"""The report: one HTML page that needs nothing else, and its numbers as Markdown and CSV.

Conventions:
    `results.csv` has one row a probe seed: `model,task,metric,value,paper,seed,config_hash`; `value` and `paper` are
    points, `seed` counts the probe's fits from 0, `paper` is empty where the paper has no such row.
"""

import csv
import io
import logging
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ray_musicssl import __version__
from ray_musicssl.reporting import sentences, tables
from ray_musicssl.reporting.found import Found, find
from ray_musicssl.reporting.latex import latex_file
from ray_musicssl.reporting.paper import paper_value
from ray_musicssl.reporting.scoreboard import Scoreboard, scoreboard
from ray_musicssl.reporting.sections import sections
from ray_musicssl.reporting.sweep import find_sweeps
from ray_musicssl.reporting.sweep_section import paper_tables, sweep_in_words
from ray_musicssl.reporting.sweep_tables import trials_table
from ray_musicssl.reporting.table1 import table1, table1_csv
from ray_musicssl.run_dir import RunDir, write_text

logger = logging.getLogger(__name__)

CSV_COLUMNS = ("model", "task", "metric", "value", "paper", "seed", "config_hash")
_RESOURCES = files("ray_musicssl.reporting")


def write_report(root: Path, out: Path | None = None) -> Path:
    """Write `report.html`, `results.md` and `results.csv` from what stages left under `root`.

    With probe scores of the paper's tasks there are `table1.csv` and `table1.tex` too.

    Args:
        root: a run, a demo, a sweep, or any directory above such.
        out: where the page goes, `root/report.html` by default; the other files go beside it.

    Returns:
        The page.

    Raises:
        DataError: if there is nothing to report, or a file is damaged.
    """
    found = find(root)
    board = scoreboard(found)
    page = out or RunDir(root).report_path
    write_text(page, to_html(found, board))
    write_text(page.with_name("results.md"), to_markdown(found, board))
    write_text(page.with_name("results.csv"), to_csv(board))
    beside = table1(board, is_synthetic=found.is_synthetic)
    if beside:
        write_text(page.with_name("table1.csv"), table1_csv(board))
        write_text(page.with_name("table1.tex"), latex_file(beside))
    logger.info("report of %d runs and %d scores in %s", len(found.runs), len(found.scores), page)
    return page


def to_html(found: Found, board: Scoreboard) -> str:
    """The whole page; all names and values are escaped."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (_RESOURCES / name).read_text()),
    )
    # Only our own style sheet and drawings are trusted as markup.
    environment.filters["drawing"] = Markup
    return environment.get_template("report.html.j2").render(
        title=_title(found),
        style=Markup((_RESOURCES / "report.css").read_text()),  # noqa: S704
        lead=sentences.what_was_run(found, board),
        note=sentences.SYNTHETIC_NOTE if found.is_synthetic else "",
        sections=sections(found, board),
        version=__version__,
    )


def to_markdown(found: Found, board: Scoreboard) -> str:
    """The numbers and the sentences about them, without figures."""
    words = tables.markdown_text
    parts = [f"# {words(_title(found))}", words(sentences.what_was_run(found, board))]
    if found.is_synthetic:
        parts.append(f"*{words(sentences.SYNTHETIC_NOTE)}*")
    for sweep in find_sweeps(found):
        parts += [
            f"## Sweep {words(sweep.name)}",
            words(sweep_in_words(sweep)),
            tables.to_markdown(trials_table(sweep)),
        ]
        parts += [tables.to_markdown(table) for table in paper_tables(sweep, is_synthetic=found.is_synthetic)]
    if board.models:
        parts += ["## Probes", tables.to_markdown(tables.probe_table(board))]
    gains = board.gains()
    if gains:
        parts.append(tables.to_markdown(tables.gains_table(gains, board.tasks)))
        parts += [f"- {words(text)}" for entry in gains if (text := sentences.gains_in_words(entry))]
    beside = table1(board, is_synthetic=found.is_synthetic)
    if beside:
        parts += ["## Beside the paper", *(tables.to_markdown(table) for table in beside)]
    learned = [(run.name, sentences.spread_in_words(run) or sentences.learned_in_words(run)) for run in found.runs]
    if any(text for _, text in learned):
        parts += ["## Pre-training", *(f"- {words(f'{name}: {text}')}" for name, text in learned if text)]
    return "\n\n".join(parts) + "\n"


def to_csv(board: Scoreboard) -> str:
    """One row a model, task, metric and probe seed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for model in (single for row in board.models for single in row.singles):
        for task in (task for task in board.tasks if task in model.scores):
            score = model.scores[task]
            if model.is_second and not score.statistics:  # frames have one score, and the first row has it
                continue
            for metric, values in sorted(score.metrics.items()):
                paper = paper_value(model.preset, task, metric)
                printed = "" if paper is None else f"{paper:.1f}"
                for seed, value in enumerate(values.values):
                    row = (model.label, task, metric, f"{100 * value:.4f}", printed, seed, score.config_hash)
                    writer.writerow(row)
    return buffer.getvalue()


def _title(found: Found) -> str:
    return f"Pre-training report: {found.root.resolve().name}"
