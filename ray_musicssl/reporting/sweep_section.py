"""The report's section of a sweep: trials, best configuration, the paper's tables beside ours, effects, curves, costs."""

from collections.abc import Sequence
from dataclasses import replace

from ray_musicssl.reporting import sweep_plots, sweep_tables
from ray_musicssl.reporting.blocks import Block, Figure, Keys, Section, fold, table_block, text
from ray_musicssl.reporting.paper import PRESET_ROWS
from ray_musicssl.reporting.sweep import FoundSweep, beside_paper, columns_of, effects
from ray_musicssl.reporting.tables import Table


def sweep_sections(sweeps: Sequence[FoundSweep], key: Keys, *, is_synthetic: bool) -> list[Section]:
    """A section a sweep."""
    return [
        Section(title=f"Sweep {sweep.name}", blocks=tuple(_blocks(sweep, key, is_synthetic=is_synthetic)))
        for sweep in sweeps
        if sweep.trials
    ]


def paper_tables(sweep: FoundSweep, *, is_synthetic: bool) -> list[Table]:
    """The paper's tables 2 and 3 with ours, as far as the sweep has their rows."""
    rows = beside_paper(sweep)
    presets = {row.preset for row in rows}
    is_small = any(trial.record.scale for trial in sweep.trials if trial.record.preset in presets)
    tables = []
    for number in (2, 3):
        table = sweep_tables.paper_table(rows, number, is_synthetic=is_synthetic, is_small=is_small)
        unscored = [trial.record for trial in sweep.trials if not trial.points]
        absent = [r.name for r in unscored if r.preset in PRESET_ROWS and PRESET_ROWS[r.preset].table == number]
        if table and absent:
            table = replace(table, caption=f"{table.caption} Without scores, and not in it: {', '.join(absent)}.")
        tables.append(table)
    return [table for table in tables if table]


def sweep_in_words(sweep: FoundSweep) -> str:
    """How many trials came to what, which is the best, and how its order compares with the paper's."""
    counts = {status: sum(trial.record.status == status for trial in sweep.trials) for status in _STATUSES}
    ended = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    words = [f"{sweep.about}. {len(sweep.trials)} trials: {ended}."]
    if sweep.former:
        words.append(f"No longer in the space, and in no table: {', '.join(sweep.former)}.")
    if sweep.scored:
        best = sweep.scored[0]
        settings = sweep_tables.trial_words(best)
        words.append(
            f"The best by {sweep.metric} is {best.record.name} with {100 * float(best.record.score or 0):.1f} points"
            f"{f' ({settings})' if settings else ''}."
        )
    cpu, gpu = (sum(getattr(trial.record, name) for trial in sweep.trials) for name in ("cpu_hours", "gpu_hours"))
    if cpu:
        words.append(f"Training held {gpu:.1f} GPU hours and {cpu:.1f} CPU hours." if gpu else _cpu_words(cpu))
    rows = beside_paper(sweep)
    for number in (2, 3):
        chosen = [row for row in rows if row.printed.table == number]
        order = sweep_tables.order_like_paper(chosen, columns_of(chosen)) if columns_of(chosen) else None
        if order is not None:
            words.append(
                f"Our order of the {len(chosen)} rows of table {number} correlates with the paper's by "
                f"{order.correlation:+.2f} (Spearman); {order.chance:.0%} of random orders do as well."
            )
    return " ".join(words)


_STATUSES = ("done", "stopped", "failed", "running", "pending")


def _cpu_words(hours: float) -> str:
    return f"Training held {hours:.2g} CPU hours."


def _blocks(sweep: FoundSweep, key: Keys, *, is_synthetic: bool) -> list[Block]:
    blocks = text(sweep_in_words(sweep))
    blocks.append(table_block(sweep_tables.trials_table(sweep)))
    failures = sweep_tables.failures_table(sweep)
    if failures:
        blocks += [Block(kind="heading", text="Trials without a score"), table_block(failures)]
    for table in paper_tables(sweep, is_synthetic=is_synthetic):
        blocks.append(table_block(table))
    blocks += _effects(sweep, key)
    if len(sweep.scored) > 1 and sweep.keys:
        caption = "A line a trial: its settings from left to right, its score on the right. Brighter is better."
        figure = Figure(svg=sweep_plots.parallel(key(), sweep), caption=caption, is_wide=True)
        blocks.append(Block(kind="figures", figures=(figure,)))
    for objective, trials in sweep.groups().items():
        if any(trial.run and trial.run.series("pretrain/loss") for trial in trials):
            caption = f"Loss of the {objective} trials. Losses of different targets or masks are of different scales."
            figure = Figure(svg=sweep_plots.losses(key(), trials), caption=caption, is_wide=True)
            blocks.append(Block(kind="figures", figures=(figure,)))
    return blocks


def _effects(sweep: FoundSweep, key: Keys) -> list[Block]:
    found = effects(sweep)
    if not found:
        return []
    figures = [
        Figure(svg=sweep_plots.effect_bars(key(), effect), caption=f"{effect.objective}: mean over trials of a value.")
        for effect in found
    ]
    tables = [
        block
        for effect in found
        for block in (Block(kind="heading", text=effect.objective), table_block(sweep_tables.effect_table(effect)))
    ]
    about = (
        "Mean headline points of the trials of the same objective that share a value. Where several settings change "
        "together, the difference is of all of them."
    )
    heading = Block(kind="heading", text="What each setting goes with")
    return [
        heading,
        *text(about),
        Block(kind="figures", figures=tuple(figures)),
        fold("The same as tables, with differences from the first value", *tables),
    ]
