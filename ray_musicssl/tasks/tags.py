"""Tags: a track has any number of them. What the tag tasks share beside their score.

Conventions:
    A target is a list of 0 and 1 over the task's classes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ray_musicssl.tasks.base import Split, TaskData

_SCORED: tuple[Split, ...] = ("valid", "test")


def most_frequent(counts: Mapping[str, int], number: int) -> list[str]:
    """The tags with the highest counts, highest first; of equal counts the one that sorts first."""
    return sorted(counts, key=lambda tag: (-counts[tag], tag))[:number]


def multi_hot(tags: Collection[str], classes: Sequence[str]) -> list[int]:
    """1 for every class that is among `tags`."""
    return [int(name in tags) for name in classes]


def with_unscored_tags(data: TaskData) -> TaskData:
    """Add a note about every split in which tags cannot be scored, as no usable track or each one has them."""
    notes = []
    for split in _SCORED:
        targets = {example.track: example.target for example in data.split(split)}
        share = np.array(list(targets.values())).mean(axis=0)
        left_out = [name for name, mean in zip(data.classes, share, strict=True) if mean in (0, 1)]
        if left_out:
            notes.append(
                f"{len(left_out)} of {len(data.classes)} tags have no positive or no negative in {split} and are left "
                f"out of its scores: {', '.join(left_out)}"
            )
    return replace(data, notes=[*data.notes, *notes])
