"""A search space on a terminal: one line a trial, then what all of them need."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ray_musicssl.search_space.space import SearchSpace
from ray_musicssl.search_space.trial import Resources, Trial


def print_space(space: SearchSpace) -> None:
    """Print every trial, the codebooks they share, what they are judged by, and what was left out."""
    console = Console()
    if not sys.stdout.isatty():
        console.width = 400  # in a pipe nothing is cut or folded: every trial stays on its line
    console.print(f"[bold]{escape(space.name)}[/]: {escape(space.about)}", soft_wrap=True)
    shared = _shared_words(space.trials)
    if shared:
        console.print(f"every trial: {' '.join(shared)}", soft_wrap=True, markup=False, highlight=False)
    console.print(_trials(space.trials, shared))
    for line in _summary(space):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _shared_words(trials: Sequence[Trial]) -> list[str]:
    """The words that all trials have; none if there is only one."""
    others = [set(trial.overrides) for trial in trials[1:]]
    return [word for word in trials[0].overrides if others and all(word in words for words in others)]


def _trials(trials: Sequence[Trial], shared: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("wave", "trial", "preset", "settings", "labels", "training", "workers"):
        table.add_column(
            title, justify="right" if title == "wave" else "left", no_wrap=title == "trial", overflow="fold"
        )
    for trial in trials:
        preset = f"{trial.preset} at {trial.scale}" if trial.scale else trial.preset
        own = [word for word in trial.overrides if word not in shared]
        labels = "; ".join(need.title for need in trial.labels) or "none"
        training = f"{trial.config.training.max_steps} x {trial.step_s:g} s"
        workers = _workers(trial.resources)
        cells = (str(trial.wave), trial.name, preset, " ".join(own) or "as the preset", labels, training, workers)
        table.add_row(*map(escape, cells))
    return table


def _workers(resources: Resources) -> str:
    if resources.num_workers == 0:
        return "in one process"
    each = f"{resources.gpus_per_worker:g} GPU, " if resources.gpus_per_worker else ""
    return f"{resources.num_workers} x {each}{resources.cpus_per_worker:g} CPU"


def _summary(space: SearchSpace) -> list[str]:
    needs = space.labels()
    waves = f" in {space.num_waves} waves" if space.num_waves > 1 else ""
    lines = [
        f"{len(space.trials)} trials{waves}, {len(needs)} codebook(s): {'; '.join(n.title for n in needs) or 'none'}"
    ]
    lines.append(
        f"probes after each: {', '.join(space.tasks)}, {space.probe.num_seeds} seed(s); metric: {space.metric.words}"
    )
    if space.search == "optuna":
        keys = ", ".join(axis.key for axis in space.axes)
        lines.append(f"search: optuna chooses {keys} by the scores so far; the values above only show the range")
    if space.scheduler.name != "none":
        lines.append(f"scheduler: {space.scheduler.name} stops bad trials by {space.scheduler.watch}")
    lines += [f"left out: {left.name}: {left.reason}" for left in space.left_out]
    return lines
