"""What can be probed, by what a user types: a trained encoder, an untrained one, or features made by hand.

Conventions:
    A baseline's name is that baseline, whatever folder there is of the same name.
    `RUN/scores` holds scores of the run's newest checkpoint alone; one of its checkpoints is scored elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path

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
    return out / spec.replace(":", "-").replace("/", "-").strip(
        "-."
    )  # no leading dot: reports pass over hidden folders


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of some features without keeping them in memory."""

    spec: str  # absolute, so that another process finds it too
    name: str
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
        content_hash=features.content_hash,
        num_layers=features.num_layers,
        dim=features.dim,
        frame_rate=features.frame_rate,
    )


def _absolute(spec: str) -> str:
    if spec in list(BASELINES):
        return spec
    prefix = UNTRAINED_PREFIX if spec.startswith(UNTRAINED_PREFIX) else ""
    return prefix + str(Path(spec.removeprefix(prefix)).resolve())
