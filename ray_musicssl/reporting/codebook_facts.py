"""What a report tells of a codebook, from its `codebook.json`."""

import math
from dataclasses import dataclass
from pathlib import Path

from ray_musicssl.clustering.codebook import read_feature
from ray_musicssl.errors import DataError
from ray_musicssl.reporting.json_object import read_object


@dataclass(frozen=True, kw_only=True)
class CodebookFacts:
    """What `codebook.json` says about a codebook."""

    path: Path
    hash: str  # names it in the labels made with it; empty if the file does not say
    feature: str
    num_clusters: int
    num_frames: int
    algorithm: str  # of the fit: lloyd or minibatch
    inertia: tuple[float, ...]  # sum of squared distances after 0, 1, 2, ... updates, or rounds of mini-batches
    usage: tuple[int, ...]  # frames of each cluster
    entropy_nats: float
    num_dead: int

    @property
    def has_rounds(self) -> bool:
        """Whether `inertia` counts rounds of mini-batches: estimates, but for the last one."""
        return self.algorithm == "minibatch"

    @property
    def entropy_bits(self) -> float:
        """Entropy of the cluster usage in bits."""
        return self.entropy_nats / math.log(2)

    @property
    def max_bits(self) -> float:
        """The entropy in bits if every cluster were used equally."""
        return math.log2(self.num_clusters)


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
            hash=str(raw.get("hash", "")),
            feature=read_feature(raw["feature"]).slug,
            num_clusters=int(raw["num_clusters"]),
            num_frames=int(raw.get("num_frames", sum(usage))),
            algorithm=str(raw.get("clustering", {}).get("algorithm", "lloyd")),
            inertia=tuple(float(value) for value in raw.get("inertia", ())),
            usage=usage,
            entropy_nats=float(raw.get("entropy_nats", _entropy(usage))),
            num_dead=len(dead) if isinstance(dead, list) else int(dead),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a codebook ({error!r}); run `musicssl kmeans` again") from error


def _entropy(usage: tuple[int, ...]) -> float:
    total = sum(usage)
    return -sum(count / total * math.log(count / total) for count in usage if count)
