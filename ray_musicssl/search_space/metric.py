"""What trials are judged by: the tasks they are probed on, and the score that stands for all.

Conventions:
    A task is known if it is registered or a column of the paper; a score is a task's and a metric's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ray_musicssl.registry import nearest
from ray_musicssl.reporting.paper import COLUMNS, TASK_TITLES
from ray_musicssl.search_space.document import Document
from ray_musicssl.tasks.base import TASKS
from ray_musicssl.tasks.listing import make_task

AVERAGE = "average"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The score by which trials are compared; larger is better."""

    task: str = ""  # empty: the mean over the tasks of the space, as the paper averages
    name: str = ""  # of the task's metrics; empty: its headline

    @property
    def words(self) -> str:
        """As the file has it."""
        return ".".join(filter(None, [self.task, self.name])) or AVERAGE


def known_tasks() -> list[str]:
    """Names in the paper's order, tasks of one's own after them."""
    return list(dict.fromkeys([*TASK_TITLES, *TASKS]))


def read_tasks(document: Document, names: Sequence[str]) -> tuple[str, ...]:
    """The tasks of `tasks:`, with `all` written out.

    Raises:
        ConfigError: with file and line, if one is unknown or there twice.
    """
    if tuple(names) == ("all",):
        return tuple(known_tasks())
    for index, name in enumerate(names):
        place = ("tasks", index)
        if name not in known_tasks():
            known = known_tasks()
            raise document.error(f'unknown task "{name}"{nearest(name, known)}; known: {", ".join(known)}', *place)
        if name in names[:index]:
            raise document.error(f"the task {name} is there twice; leave one out", *place)
    return tuple(names)


def read_metric(document: Document, words: str, tasks: Sequence[str]) -> Metric:
    """The score that `metric:` names.

    Raises:
        ConfigError: with file and line, if the trials are not probed on its task, or the task has no such metric.
    """
    if words == AVERAGE:
        return Metric()
    task, _, name = words.partition(".")
    if task not in tasks:
        known = [AVERAGE, *tasks]
        raise document.error(
            f'metric "{words}"{nearest(task, known)} is neither {AVERAGE} nor one of the tasks, {", ".join(tasks)} '
            f"(or TASK.METRIC)",
            "metric",
        )
    known = _metrics(task) if name else []
    if name and name not in known:
        raise document.error(
            f'unknown metric "{name}" of {task}{nearest(name, known)}; known: {", ".join(known)}', "metric"
        )
    return Metric(task=task, name=name)


def _metrics(task: str) -> list[str]:
    if task in TASKS:
        return list(make_task(task).metrics)
    return [column.metric for column in COLUMNS if column.task == task]
