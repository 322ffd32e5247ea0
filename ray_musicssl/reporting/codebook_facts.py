"""What a report tells of a codebook, from its `codebook.json`."""

import math
from dataclasses import dataclass
from pathlib import Path

from ray_musicssl.errors import DataError
from ray_musicssl.reporting.json_object import read_object


@dataclass(frozen=True, kw_only=True)
class CodebookFacts:
    """What `codebook.json` says about a codebook."""

    path: Path
    feature: str
    num_clusters: int
    num_frames: int
    inertia: tuple[float, ...]  # sum of squared distances after each iteration
    usage: tuple[int, ...]  # frames of each cluster
    entropy_nats: float
    num_dead: int


def read_codebook(path: Path) -> CodebookFacts:
    """Read `codebook.json`; what it does not count is counted from its usage.

    Raises:
        DataError: if it is damaged.
    """
    raw = read_object(path)
    try:
        usage = tuple(int(count) for count in raw.get("usage", ()))
        dead = raw.get("dead_clusters", sum(count == 0 for count in usage))
        return CodebookFacts(
            path=path.parent,
            feature=str(raw["feature"]["name"]),
            num_clusters=int(raw["num_clusters"]),
            num_frames=int(raw.get("num_frames", sum(usage))),
            inertia=tuple(float(value) for value in raw.get("inertia", ())),
            usage=usage,
            entropy_nats=float(raw.get("entropy_nats", _entropy(usage))),
            num_dead=len(dead) if isinstance(dead, list) else int(dead),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a codebook ({error!r}); run `musicssl kmeans` again") from error


def _entropy(usage: tuple[int, ...]) -> float:
    total = sum(usage)
    return -sum(count / total * math.log(count / total) for count in usage if count)
