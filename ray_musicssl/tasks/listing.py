"""Tasks by name: choosing some, describing them, checking a download."""

from pathlib import Path
from typing import Any

from ray_musicssl.tasks.base import SPLITS, TASKS, Task


def make_task(name: str) -> Task:
    """The task of a name.

    Raises:
        ConfigError: if there is none; the message lists what there is.
    """
    return TASKS.load(name)()


def choose_tasks(names: str) -> list[str]:
    """Split `a,b` into known names; `all` means every task.

    Raises:
        ConfigError: if one is unknown.
    """
    if names.strip() == "all":
        return list(TASKS)
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        _ = TASKS[name]  # an unknown name is refused here
    return chosen


def describe_tasks() -> list[dict[str, Any]]:
    """Name, data set and metrics of every task, in the order of the paper's Table 1."""
    tasks = [make_task(name) for name in TASKS]
    return [{"name": task.name, "dataset": task.dataset, "metrics": list(task.metrics)} for task in tasks]


def check_task(name: str, data_dir: Path, *, annotations_only: bool = False) -> dict[str, Any]:
    """Read a data set as a probe would and count what it gives.

    Returns:
        `{"task", "splits": {split: {"expected", "usable"}}, "reasons": {reason: count}, "notes": [...]}`.

    Raises:
        ConfigError: if the task is unknown.
        DataError: if the data set is not found, or a split has nothing usable.
    """
    data = make_task(name).read(data_dir, annotations_only=annotations_only)
    used = data.used()
    return {
        "task": name,
        "splits": {split: {"expected": data.expected[split], "usable": used[split]} for split in SPLITS},
        "reasons": data.reasons(),
        "notes": list(data.notes),
    }
