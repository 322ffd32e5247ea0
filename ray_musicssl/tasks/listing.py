"""Tasks by name: choosing some, describing them, checking a download."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError, DataError, EnvironmentFaultError, NotThereError
from ray_musicssl.tasks.base import SPLITS, TASKS, Task

# Those whose split is in lists that are not part of the data set.
LISTED_TASKS = GENRE_TASK, BEAT_TASK = "gtzan_genre", "gtzan_rhythm"
KEY_TASK = "giantsteps_key"
TECHNIQUE_TASK = "vocalset_technique"


def make_task(name: str, config: ProbeConfig | None = None, *, split_lists: Path | None = None) -> Task:
    """The task of a name.

    Args:
        name: one of `TASKS`.
        config: how a song's clips agree on its key, how beats are found, how VocalSet is split, for the tasks that ask; None:
            as usual.
        split_lists: the folder of the three fault-filtered lists of GTZAN, for the tasks that need them; the others
            pass it over. None: they are looked for in the data folder.

    Raises:
        ConfigError: if there is none; the message lists what there is.
    """
    recipe = config or ProbeConfig()
    options: dict[str, dict[str, Any]] = {
        GENRE_TASK: {"split_lists": split_lists},
        BEAT_TASK: {"split_lists": split_lists, "decoder": recipe.beat_decoder},
        KEY_TASK: {"ensemble": recipe.key_ensemble},
        TECHNIQUE_TASK: {"split_by": recipe.technique_split},
    }
    return TASKS.load(name)(**options.get(name, {}))


def choose_tasks(names: str) -> list[str]:
    """Split `a,b` into known names; `all` means every task.

    Raises:
        ConfigError: if one is unknown, or there is none.
    """
    if names.strip() == "all":
        return list(TASKS)
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise ConfigError(
            f"--tasks {names!r} names no task; give `all`, or some of these with commas: {', '.join(TASKS)}"
        )
    for name in chosen:
        _ = TASKS[name]  # an unknown name is refused here
    return chosen


def describe_tasks() -> list[dict[str, Any]]:
    """Name, data set and metrics of every task, in the order of the paper's Table 1."""
    tasks = [make_task(name) for name in TASKS]
    return [{"name": task.name, "dataset": task.dataset, "metrics": list(task.metrics)} for task in tasks]


def check_task(
    name: str, data_dir: Path, *, annotations_only: bool = False, split_lists: Path | None = None
) -> dict[str, Any]:
    """Read a data set as a probe would and count what it gives.

    Returns:
        `{"task", "splits": {split: {"expected", "usable"}}, "reasons": {reason: count}, "skipped": [{"id", "split",
        "path", "reason"}], "notes": [...], "official": {split: count} or None}`.

    Raises:
        ConfigError: if the task is unknown, or takes no lists.
        DataError: if the data set is not found, a split has nothing usable, or two splits share something.
        EnvironmentFaultError: if the system does not give a file that is there.
    """
    if split_lists is not None and name not in LISTED_TASKS:
        raise ConfigError(f"--split-lists {split_lists} says nothing about {name}; it is for {', '.join(LISTED_TASKS)}")
    data = make_task(name, split_lists=split_lists).read(data_dir, annotations_only=annotations_only)
    used = data.used()
    return {
        "task": name,
        "splits": {split: {"expected": data.expected[split], "usable": used[split]} for split in SPLITS},
        "reasons": data.reasons(),
        "skipped": [asdict(item) for item in data.skipped],
        "notes": list(data.notes),
        "official": None if data.official is None else {split: data.official[split] for split in SPLITS},
    }


def check_all(
    data_dir: Path, *, annotations_only: bool = False, split_lists: Path | None = None
) -> list[dict[str, Any]]:
    """What `check_task` gives for every task; `{"task", "error", "is_there"}` for one that cannot be read.

    Raises:
        NotThereError: if none of the data sets is there.
    """
    found: list[dict[str, Any]] = []
    for name in TASKS:
        lists = split_lists if name in LISTED_TASKS else None
        try:
            found.append(check_task(name, data_dir, annotations_only=annotations_only, split_lists=lists))
        except (DataError, EnvironmentFaultError) as error:
            found.append({"task": name, "error": str(error), "is_there": not isinstance(error, NotThereError)})
    if not any(row.get("is_there", True) for row in found):
        raise NotThereError(
            f"none of the data sets is under {data_dir} or a folder or two below; give --data the folder that they "
            f"lie in; `musicssl tasks check NAME` says what is looked for"
        )
    return found


def faults(rows: Sequence[Mapping[str, Any]], *, strict: bool) -> list[str]:
    """What is wrong with checked tasks: those that cannot be read though they are there.

    Args:
        rows: what `check_all` gave, or some of it.
        strict: count also what is left out and data sets that are not there.
    """
    wrong = []
    for row in rows:
        if "error" in row:
            if strict or row["is_there"]:
                wrong.append(f"{row['task']} cannot be read")
        elif strict and row["reasons"]:
            wrong.append(f"{row['task']} leaves out {sum(row['reasons'].values())}")
    return wrong
