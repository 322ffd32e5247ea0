"""The report's sections from top to bottom: which tables, figures and words stand where."""

from collections.abc import Mapping, Sequence
from typing import Any

from ray_musicssl.reporting import appendix, plots, sentences, tables
from ray_musicssl.reporting.blocks import Block, Figure, Keys, Section, fold, table_block, text
from ray_musicssl.reporting.closer_look import closer_look
from ray_musicssl.reporting.codebook_section import codebooks
from ray_musicssl.reporting.found import Found, Run
from ray_musicssl.reporting.scoreboard import Scoreboard
from ray_musicssl.reporting.sweep import find_sweeps
from ray_musicssl.reporting.sweep_section import sweep_sections
from ray_musicssl.reporting.table1 import table1

_FURTHER_CURVES = {
    "optim/lr": "learning rate",
    "pretrain/grad_norm": "gradient norm",
    "pretrain/ema_decay": "EMA decay",
    "data/audio_s_per_s": "audio s / s",
    "sys/rss_gib": "memory, GiB",
}


def sections(found: Found, board: Scoreboard) -> list[Section]:
    """All sections that have something to show, in order."""
    key = Keys()
    made = [
        *sweep_sections(find_sweeps(found), key, is_synthetic=found.is_synthetic),
        Section(title="Probes", blocks=tuple(_probes(board, key))),
        Section(title="Beside the paper", blocks=tuple(_paper(found, board))),
        Section(title="Pre-training", blocks=tuple(b for run in found.runs for b in _training(run, key))),
        Section(title="Codebooks", blocks=tuple(codebooks(found, key))),
        Section(title="A closer look at the probes", blocks=tuple(closer_look(board, key))),
        Section(title="Input files", blocks=tuple(_ledgers(found))),
        Section(title="Where the time went", blocks=tuple(_timings(found, key))),
        Section(title="Configuration and versions", blocks=tuple(_configs(found))),
    ]
    return [section for section in made if section.blocks]


def _probes(board: Scoreboard, key: Keys) -> list[Block]:
    if not board.models:
        return []
    blocks = [table_block(tables.probe_table(board))]
    gains = board.gains()
    if gains:
        blocks.append(table_block(tables.gains_table(gains, board.tasks)))
        blocks.extend(block for entry in gains for block in text(sentences.gains_in_words(entry)))
    if len(board.encoders().of_kind("trained")) <= sentences.MOST_TOLD:
        caption = f"Headline scores. Bars are the standard deviation over {tables.fits_of(board)}."
        figure = Figure(svg=plots.scores(key(), board.encoders()), caption=caption, is_wide=True)
        blocks.append(Block(kind="figures", figures=(figure,)))
    blocks.append(fold("Every metric", table_block(tables.all_metrics_table(board))))
    blocks.append(fold("Examples used", table_block(appendix.data_table(board))))
    layers = appendix.layers_table(board)
    if layers:
        blocks.append(fold("Layer weights", table_block(layers)))
    return blocks


def _paper(found: Found, board: Scoreboard) -> list[Block]:
    return [table_block(table) for table in table1(board, is_synthetic=found.is_synthetic)]


def _training(run: Run, key: Keys) -> list[Block]:
    if not run.log:
        return []
    has_labels = run.config.uses_labels if run.config else not run.series("pretrain/target_std")
    figures = _hubert_figures(run, key) if has_labels else _regression_figures(run, key)
    figures += _spread_figures(run, key)
    blocks = [Block(kind="heading", text=run.name)]
    for words in (sentences.learned_in_words(run), sentences.spread_in_words(run)):
        blocks.extend(text(words))
    if figures:
        blocks.append(Block(kind="figures", figures=tuple(figures)))
    if any(run.series(name) for name in _FURTHER_CURVES):
        curves = Figure(
            svg=plots.small_curves(key(), run, _FURTHER_CURVES), caption="Optimiser, throughput and memory."
        )
        blocks.append(fold("Optimiser and throughput", Block(kind="figures", figures=(curves,))))
    return blocks


def _hubert_figures(run: Run, key: Keys) -> list[Figure]:
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


def _regression_figures(run: Run, key: Keys) -> list[Figure]:
    if not run.series("pretrain/loss"):
        return []
    return [Figure(svg=plots.regression_loss(key(), run), caption=sentences.MUSIC2VEC_NOTE)]


def _spread_figures(run: Run, key: Keys) -> list[Figure]:
    if not (run.series("pretrain/target_std") or run.series("pretrain/prediction_std")):
        return []
    teacher = run.config.teacher if run.config else None
    limit = teacher.min_target_std if teacher else None
    caption = "Spread of the teacher's targets and of the student's predictions."
    return [Figure(svg=plots.spreads(key(), run, limit=limit), caption=caption)]


def _ledgers(found: Found) -> list[Block]:
    blocks = []
    for ledger in found.ledgers:
        blocks.append(Block(kind="heading", text=sentences.place(ledger.path, found.root)))
        blocks.extend(text(sentences.ledger_in_words(ledger)))
        if ledger.counts:
            blocks.append(table_block(appendix.ledger_table(ledger)))
    return blocks


def _timings(found: Found, key: Keys) -> list[Block]:
    stages: Sequence[Mapping[str, Any]] = found.timings.get("stages") or ()
    if not stages:
        return []
    total = sum(float(stage["seconds"]) for stage in stages)
    caption = f"{sentences.duration(total)} in all; beside each bar its seconds and its peak memory."
    figure = Figure(svg=plots.timings(key(), stages), caption=caption, is_wide=True)
    blocks = [Block(kind="figures", figures=(figure,))]
    if found.timings.get("machine"):
        blocks.append(fold("Machine", table_block(appendix.machine_table(found.timings["machine"]))))
    return blocks


def _configs(found: Found) -> list[Block]:
    folds = []
    for run in found.runs:
        made = [appendix.config_table(run), appendix.versions_table(run)]
        shown = [table_block(table) for table in made if table.rows]
        if shown:
            folds.append(fold(f"{run.name} ({sentences.place(run.path, found.root)})", *shown))
    return folds
