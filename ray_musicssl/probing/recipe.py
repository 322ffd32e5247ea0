"""The recipe of a probe as each task has it in the end: settings that have no effect on it are at their defaults."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.probing.features import Pool
from ray_musicssl.probing.sources import Source
from ray_musicssl.run_dir import hash_of
from ray_musicssl.tasks.base import TASKS, Task
from ray_musicssl.tasks.listing import KEY_TASK, LISTED_TASKS, TECHNIQUE_TASK


class Stopping(NamedTuple):
    """When a fit stops, in epochs."""

    max_epochs: int
    lr_patience: int  # without a better validation score, before the rate is halved
    patience: int  # before the fit stops


_GTZAN = Stopping(100, 6, 20)
_EARLY = Stopping(100, 3, 10)
# Source: the configurations of MARBLE.
_STOPPING = {
    "magnatagatune": _EARLY,
    "giantsteps_key": Stopping(100, 5, 20),
    "emomusic": Stopping(100, 5, 20),
    "nsynth_instrument": Stopping(50, 3, 10),
    "nsynth_pitch": Stopping(50, 3, 10),
    "vocalset_technique": Stopping(100, 5, 10),
    "vocalset_singer": Stopping(100, 5, 20),
    "mtg_instrument": _EARLY,
    "mtg_moodtheme": _EARLY,
    "mtg_genre": _EARLY,
    "mtg_top50": _EARLY,
}
# Settings that have not always been there: a score from before is one with their defaults.
_LATER = ("layers", "beat_decoder", "technique_split")


def stopping_of(config: ProbeConfig, task: Task) -> Stopping:
    """When a fit on a task stops: as the recipe says, else as MARBLE has it."""
    usual = _STOPPING.get(task.name, _GTZAN)
    return Stopping(
        max_epochs=config.beat_max_epochs if task.kind == "beats" else config.max_epochs or usual.max_epochs,
        lr_patience=config.lr_patience or usual.lr_patience,
        patience=config.patience or usual.patience,
    )


def recipe_hash(config: ProbeConfig) -> str:
    """The hash of all that a score depends on in a recipe that is `resolved`."""
    values, usual = config.model_dump(mode="json"), ProbeConfig()
    return hash_of({name: v for name, v in values.items() if name not in _LATER or v != getattr(usual, name)})


def pool_of(config: ProbeConfig, task: Task, source: Source) -> Pool:
    """What is kept of a window's frames: all of them for beats, both statistics of hand-made features."""
    if task.kind == "beats":
        return None
    return "mean+sd" if source.origin.kind == "baseline" else config.statistics


def resolved(config: ProbeConfig, task: Task, source: Source) -> ProbeConfig:
    """The recipe of one encoder's probe: what is asked for by name or not, or has no effect, is the same recipe."""
    pool, usual, stopping = pool_of(config, task, source), ProbeConfig(), stopping_of(config, task)
    pooling = "outputs" if pool is None else task.pooling if config.pooling == "task" else config.pooling
    has_clips = task.name == KEY_TASK and pooling == "outputs"
    return config.model_copy(
        update={
            "pooling": pooling,
            "statistics": pool or "mean",
            "key_ensemble": config.key_ensemble if has_clips else usual.key_ensemble,
            "layers": config.layers if source.num_layers > 1 else usual.layers,
            "beat_decoder": config.beat_decoder if task.kind == "beats" else usual.beat_decoder,
            "technique_split": config.technique_split if task.name == TECHNIQUE_TASK else usual.technique_split,
            "max_epochs": _GTZAN.max_epochs if task.kind == "beats" else stopping.max_epochs,
            "lr_patience": stopping.lr_patience,
            "patience": stopping.patience,
        }
    )


def idle_settings(config: ProbeConfig, tasks: Iterable[str], split_lists: Path | None = None) -> list[str]:
    """What is asked for in vain, in words."""
    found = []
    names = list(tasks)
    if split_lists is not None and not set(names) & set(LISTED_TASKS):
        found.append(f"--split-lists {split_lists} has no effect: it is for {', '.join(LISTED_TASKS)}")
    beats = [name for name in names if TASKS.load(name).kind == "beats"]
    if config.lr_grid and config.lr != ProbeConfig().lr:
        found.append(f"lr={config.lr:g} has no effect: the rates of lr_grid are fitted")
    if config.pooling == "embeddings" and beats:
        found.append(f"pooling=embeddings has no effect on {', '.join(beats)}: beats have no windows to average")
    if config.statistics == "mean+sd" and beats:
        found.append(f"statistics=mean+sd has no effect on {', '.join(beats)}: beats are found in frames")
    if config.beat_decoder == "peaks" and not beats:
        found.append("beat_decoder=peaks has no effect: none of the tasks is about beats")
    if config.technique_split == "recording" and TECHNIQUE_TASK not in names:
        found.append(f"technique_split=recording has no effect: {TECHNIQUE_TASK} is not among the tasks")
    if config.key_ensemble != "mean_logits":
        asked = f"key_ensemble={config.key_ensemble} has no effect"
        if KEY_TASK not in names:
            found.append(f"{asked}: {KEY_TASK} is not among the tasks")
        elif config.pooling == "embeddings":
            found.append(f"{asked}: with pooling=embeddings a song is one clip")
    return found
