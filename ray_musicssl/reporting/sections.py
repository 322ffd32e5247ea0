"""The report's sections from top to bottom: which tables, figures and words stand where."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ray_musicssl.errors import DataError
from ray_musicssl.reporting import appendix, plots, sentences, tables
from ray_musicssl.reporting.codebook_facts import CodebookFacts
from ray_musicssl.reporting.found import Found, Run
from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.scoreboard import Scoreboard
from ray_musicssl.reporting.tables import Table

_FURTHER_CURVES = {
    "optim/lr": "learning rate",
    "pretrain/grad_norm": "gradient norm",
    "pretrain/ema_decay": "EMA decay",
    "data/audio_s_per_s": "audio s / s",
    "sys/rss_gib": "memory, GiB",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One drawing and what it shows."""

    svg: str
    caption: str
    is_wide: bool = False
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A table, a paragraph or a heading inside a section; a fold holds tables and figures that open on a click."""

    kind: Literal["table", "text", "heading", "figures", "fold"]
    text: str = ""
    table: Table | None = None
    figures: tuple[Figure, ...] = ()
    blocks: tuple["Block", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page."""

    title: str
    blocks: tuple[Block, ...]


class _Keys:
    """Names for figures, each given once."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"figure-{self._count}"


def sections(found: Found, board: Scoreboard) -> list[Section]:
    """All sections that have something to show, in order."""
    key = _Keys()
    made = [
        Section(title="Probes", blocks=tuple(_probes(board, key))),
        Section(title="Beside the paper", blocks=tuple(_paper(board))),
        Section(title="Pre-training", blocks=tuple(b for run in found.runs for b in _training(run, key))),
        Section(title="Codebooks", blocks=tuple(_codebooks(found, key))),
        Section(title="A closer look at the probes", blocks=tuple(_extras(board, key))),
        Section(title="Input files", blocks=tuple(_ledgers(found))),
        Section(title="Where the time went", blocks=tuple(_timings(found, key))),
        Section(title="Configuration and versions", blocks=tuple(_configs(found))),
    ]
    return [section for section in made if section.blocks]


def _text(text: str) -> list[Block]:
    return [Block(kind="text", text=text)] if text else []


def _fold(title: str, *blocks: Block) -> Block:
    return Block(kind="fold", text=title, blocks=blocks)


def _table(table: Table) -> Block:
    return Block(kind="table", table=table)


def _probes(board: Scoreboard, key: _Keys) -> list[Block]:
    if not board.models:
        return []
    blocks = [_table(tables.probe_table(board))]
    gains = board.gains()
    if gains:
        blocks.append(_table(tables.gains_table(gains, board.tasks)))
        blocks.extend(block for entry in gains for block in _text(sentences.gains_in_words(entry)))
    if len(board.of_kind("trained")) <= sentences.MOST_TOLD:
        caption = "Headline scores. Bars are the standard deviation over probe seeds."
        figure = Figure(svg=plots.scores(key(), board), caption=caption, is_wide=True)
        blocks.append(Block(kind="figures", figures=(figure,)))
    blocks.append(_fold("Every metric", _table(tables.all_metrics_table(board))))
    blocks.append(_fold("Examples used", _table(appendix.data_table(board))))
    layers = appendix.layers_table(board)
    if layers:
        blocks.append(_fold("Layer weights", _table(layers)))
    return blocks


def _paper(board: Scoreboard) -> list[Block]:
    table = tables.paper_table(board)
    return [_table(table)] if table else []


def _training(run: Run, key: _Keys) -> list[Block]:
    if not run.log:
        return []
    has_labels = run.config.uses_labels if run.config else not run.series("pretrain/target_std")
    figures = _hubert_figures(run, key) if has_labels else _regression_figures(run, key)
    figures += _spread_figures(run, key)
    blocks = [Block(kind="heading", text=run.name)]
    for words in (sentences.learned_in_words(run), sentences.spread_in_words(run)):
        blocks.extend(_text(words))
    if figures:
        blocks.append(Block(kind="figures", figures=tuple(figures)))
    if any(run.series(name) for name in _FURTHER_CURVES):
        curves = Figure(
            svg=plots.small_curves(key(), run, _FURTHER_CURVES), caption="Optimiser, throughput and memory."
        )
        blocks.append(_fold("Optimiser and throughput", Block(kind="figures", figures=(curves,))))
    return blocks


def _hubert_figures(run: Run, key: _Keys) -> list[Figure]:
    figures = []
    if any(run.series(f"pretrain/{name}") for name in ("loss", "masked_loss", "unmasked_loss")):
        caption = (
            "Loss, summed over label sets. A model that learns nothing ends on the dashed line, the label entropy."
        )
        figures.append(Figure(svg=plots.hubert_loss(key(), run), caption=caption))
    if any(run.series(f"pretrain/{name}_accuracy") for name in ("masked", "unmasked")):
        caption = "How often the label of a frame is guessed."
        figures.append(Figure(svg=plots.accuracy(key(), run), caption=caption))
    return figures


def _regression_figures(run: Run, key: _Keys) -> list[Figure]:
    if not run.series("pretrain/loss"):
        return []
    return [Figure(svg=plots.regression_loss(key(), run), caption=sentences.MUSIC2VEC_NOTE)]


def _spread_figures(run: Run, key: _Keys) -> list[Figure]:
    if not (run.series("pretrain/target_std") or run.series("pretrain/prediction_std")):
        return []
    teacher = run.config.teacher if run.config else None
    limit = teacher.min_target_std if teacher else None
    caption = "Spread of the teacher's targets and of the student's predictions."
    return [Figure(svg=plots.spreads(key(), run, limit=limit), caption=caption)]


def _codebooks(found: Found, key: _Keys) -> list[Block]:
    if not found.codebooks:
        return []
    named = [(sentences.place(book.path, found.root), book) for book in found.codebooks]
    blocks = [_table(appendix.codebook_table(named))]
    for name, book in named:
        figures = _codebook_figures(book, key)
        if figures:
            blocks.append(Block(kind="heading", text=name))
            blocks.append(Block(kind="figures", figures=tuple(figures)))
    return blocks


def _codebook_figures(book: CodebookFacts, key: _Keys) -> list[Figure]:
    figures = []
    if sum(book.usage):
        figures.append(Figure(svg=plots.usage(key(), book), caption=sentences.codebook_in_words(book)))
    if book.inertia and all(math.isfinite(value) for value in book.inertia):
        figures.append(
            Figure(svg=plots.inertia(key(), book), caption="Squared distance to the nearest centroid, a frame.")
        )
    return figures


def _extras(board: Scoreboard, key: _Keys) -> list[Block]:
    """For each task, the example of the best pre-trained model that left one, else of the best other model."""
    drawings: dict[str, Callable[[Mapping[str, Any], str], str]] = {
        "confusion": lambda d, k: plots.confusion(k, d["classes"], d["matrix"]),
        "beats": lambda d, k: plots.beats(k, d),
    }
    captions = {
        "confusion": "{task}: true classes in rows, answers in columns, shades by row. {model}.",
        "beats": "{task}: activation of one test song, with the annotated beats and those decoded from it. {model}.",
    }
    figures = []
    for task in board.tasks:
        for detail, draw in drawings.items():
            holders = [m for m in board.models if task in m.scores and detail in m.scores[task].details]
            if not holders:
                continue
            best = max(holders, key=lambda m: (m.kind == "trained", _mean(m.headline(task))))
            score = best.scores[task]
            caption = captions[detail].format(task=task_title(task), model=best.label)
            svg = _drawn(lambda d=draw, s=score, n=detail: d(s.details[n], key()), score.path, detail)
            figures.append(Figure(svg=svg, caption=caption, is_wide=detail == "beats"))
    return [Block(kind="figures", figures=tuple(figures))] if figures else []


def _mean(score: Any) -> float:
    return score.mean if score else -math.inf


def _drawn(draw: Callable[[], str], path: Path, detail: str) -> str:
    try:
        return draw()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: its details.{detail} cannot be drawn ({error!r}); probe that task again") from error


def _ledgers(found: Found) -> list[Block]:
    blocks = []
    for ledger in found.ledgers:
        blocks.append(Block(kind="heading", text=sentences.place(ledger.path, found.root)))
        blocks.extend(_text(sentences.ledger_in_words(ledger)))
        if ledger.counts:
            blocks.append(_table(appendix.ledger_table(ledger)))
    return blocks


def _timings(found: Found, key: _Keys) -> list[Block]:
    stages: Sequence[Mapping[str, Any]] = found.timings.get("stages") or ()
    if not stages:
        return []
    total = sum(float(stage["seconds"]) for stage in stages)
    caption = f"{sentences.duration(total)} in all; beside each bar its seconds and its peak memory."
    figure = Figure(svg=plots.timings(key(), stages), caption=caption, is_wide=True)
    blocks = [Block(kind="figures", figures=(figure,))]
    if found.timings.get("machine"):
        blocks.append(_fold("Machine", _table(appendix.machine_table(found.timings["machine"]))))
    return blocks


def _configs(found: Found) -> list[Block]:
    folds = []
    for run in found.runs:
        made = [appendix.config_table(run), appendix.versions_table(run)]
        shown = [_table(table) for table in made if table.rows]
        if shown:
            folds.append(_fold(f"{run.name} ({sentences.place(run.path, found.root)})", *shown))
    return folds
