"""The recipe of a probe as each task has it in the end: settings that have no effect on it are at their defaults."""

from collections.abc import Iterable

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.probing.features import Pool
from ray_musicssl.probing.sources import Source
from ray_musicssl.tasks.base import TASKS, Task
from ray_musicssl.tasks.listing import KEY_TASK


def pool_of(config: ProbeConfig, task: Task, source: Source) -> Pool:
    """What is kept of a window's frames: all of them for beats, both statistics of hand-made features."""
    if task.kind == "beats":
        return None
    return "mean+sd" if source.origin.kind == "baseline" else config.statistics


def resolved(config: ProbeConfig, task: Task, source: Source) -> ProbeConfig:
    """The recipe of one encoder's probe: what is asked for by name or not, or has no effect, is the same recipe."""
    pool = pool_of(config, task, source)
    pooling = "outputs" if pool is None else task.pooling if config.pooling == "task" else config.pooling
    has_clips = task.name == KEY_TASK and pooling == "outputs"
    return config.model_copy(
        update={
            "pooling": pooling,
            "statistics": pool or "mean",
            "key_ensemble": config.key_ensemble if has_clips else "mean_logits",
        }
    )


def idle_settings(config: ProbeConfig, tasks: Iterable[str]) -> list[str]:
    """What is asked for in vain, in words."""
    found = []
    names = list(tasks)
    beats = [name for name in names if TASKS.load(name).kind == "beats"]
    if config.lr_grid and config.lr != ProbeConfig().lr:
        found.append(f"lr={config.lr:g} has no effect: the rates of lr_grid are fitted")
    if config.pooling == "embeddings" and beats:
        found.append(f"pooling=embeddings has no effect on {', '.join(beats)}: beats have no windows to average")
    if config.statistics == "mean+sd" and beats:
        found.append(f"statistics=mean+sd has no effect on {', '.join(beats)}: beats are found in frames")
    if config.key_ensemble != "mean_logits":
        asked = f"key_ensemble={config.key_ensemble} has no effect"
        if KEY_TASK not in names:
            found.append(f"{asked}: {KEY_TASK} is not among the tasks")
        elif config.pooling == "embeddings":
            found.append(f"{asked}: with pooling=embeddings a song is one clip")
    return found
