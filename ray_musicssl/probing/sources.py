"""What can be probed, by what a user types: a trained encoder, an untrained one, or features made by hand.

Conventions:
    A baseline's name is that baseline, whatever folder there is of the same name.
    `RUN/scores` holds scores of the run's newest checkpoint alone; one of its checkpoints is scored elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ray_musicssl.errors import ConfigError
from ray_musicssl.probing.features import FrozenFeatures
from ray_musicssl.registry import Registry
from ray_musicssl.run_dir import RunDir

BASELINES = Registry(
    "baseline",
    {
        "mfcc": "ray_musicssl.probing.baselines:MfccFeatures",
        "chroma": "ray_musicssl.probing.baselines:ChromaFeatures",
        "mfcc+semitone": "ray_musicssl.probing.baselines:MfccSemitoneFeatures",
    },
)
# Loaded by name, so that probing a baseline does not wait for the encoder's imports.
_ENCODERS = Registry(
    "encoder source",
    {
        "trained": "ray_musicssl.probing.embed:load_encoder",
        "untrained": "ray_musicssl.probing.embed:untrained_encoder",
    },
)
UNTRAINED_PREFIX = "random:"


def open_features(spec: str) -> FrozenFeatures:
    """The features that `spec` names.

    Args:
        spec: a run or checkpoint directory, a Hugging Face folder, `random:` and any of these (what it was
            before any training), or the name of a baseline.

    Raises:
        ConfigError: if it is none of these; the message lists them.
    """
    if spec in list(BASELINES):
        return BASELINES.load(spec)()
    path = Path(spec.removeprefix(UNTRAINED_PREFIX))
    if not path.is_dir():
        raise ConfigError(
            f'"{spec}" cannot be probed: {path} is not a directory; allowed are a run or checkpoint directory, a '
            f"Hugging Face folder, {UNTRAINED_PREFIX}DIR for any of these, {', '.join(BASELINES)}"
        )
    if spec.startswith(UNTRAINED_PREFIX):
        return _ENCODERS.load("untrained")(path)
    return _ENCODERS.load("trained")(path)


def scores_home(spec: str, out: Path) -> Path:
    """The directory whose `scores/` are those of what `spec` names: a run's own, else a folder under `out`."""
    if spec not in list(BASELINES) and RunDir(Path(spec)).checkpoints_dir.is_dir():
        return Path(spec)
    prefix, place = _parted(spec)
    if not place.strip("/."):  # `.`, `..`: no name in themselves
        place = Path(place).resolve().name
    name = f"{prefix}{place}".replace(":", "-").replace("/", "-")
    return out / name.strip("-.")  # no leading dot: reports pass over hidden folders


def check_homes(specs: Sequence[str], out_dirs: Sequence[Path]) -> None:
    """Check that each encoder has a directory of its own for its scores.

    Raises:
        ConfigError: if two have the same one, or there is not one for each.
    """
    if len(specs) != len(out_dirs):
        raise ConfigError(f"{len(specs)} encoders but {len(out_dirs)} directories for their scores; give one for each")
    owners: dict[Path, str] = {}
    for spec, out_dir in zip(specs, out_dirs, strict=True):
        if (other := owners.setdefault(out_dir.resolve(), spec)) != spec:
            raise ConfigError(
                f'the scores of "{other}" and "{spec}" would both go to {out_dir / "scores"} and overwrite each other; '
                f"probe them one at a time, with another --out, or rename one"
            )


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What an encoder is, whatever it is called: reports tell encoders apart by it and find a run's untrained twin."""

    kind: Literal["trained", "untrained", "baseline"]
    path: str | None  # absolute, of the run, checkpoint or folder; of a twin, that of which it is the beginning
    seed: int | None  # of the weights before any training; None: there are none, or it is not known


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of some features without keeping them in memory."""

    spec: str  # absolute, so that another process finds it too
    name: str
    origin: Origin
    content_hash: str
    num_layers: int
    dim: int
    frame_rate: float


def describe(spec: str) -> Source:
    """Open the features that `spec` names, and let go of them again.

    Raises:
        ConfigError: as `open_features`.
    """
    features = open_features(spec)
    return Source(
        spec=_absolute(spec),
        name=features.name,
        origin=_origin(spec, features.seed),
        content_hash=features.content_hash,
        num_layers=features.num_layers,
        dim=features.dim,
        frame_rate=features.frame_rate,
    )


def _absolute(spec: str) -> str:
    if spec in list(BASELINES):
        return spec
    prefix, place = _parted(spec)
    return prefix + str(Path(place).resolve())


def _origin(spec: str, seed: int | None) -> Origin:
    if spec in list(BASELINES):
        return Origin(kind="baseline", path=None, seed=None)
    prefix, place = _parted(spec)
    return Origin(kind="untrained" if prefix else "trained", path=str(Path(place).resolve()), seed=seed)


def _parted(spec: str) -> tuple[str, str]:
    """The prefix of untrained encoders, or nothing, and what it stands before."""
    prefix = UNTRAINED_PREFIX if spec.startswith(UNTRAINED_PREFIX) else ""
    return prefix, spec.removeprefix(prefix)
