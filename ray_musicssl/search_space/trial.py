"""One trial: a run of `pretrain`, resolved, with all that it needs before it can begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from ray_musicssl.config.feature import FeatureConfig, HiddenConfig, ResidualConfig
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.run_dir import hash_of


@dataclass(frozen=True, kw_only=True)
class LabelNeed:
    """One codebook and the labels it gives; trials of equal `key` share them."""

    key: str
    kmeans: KmeansConfig
    trial: str = ""  # whose checkpoint the hidden layer is of; empty: of none, or of the encoder that the feature names
    follows: str = ""  # key of the codebook whose residual it is, if that is fitted here too

    @property
    def title(self) -> str:
        """As a table has it: `mfcc39, k=500`."""
        feature = self.kmeans.feature
        if isinstance(feature, HiddenConfig):
            words = f"layer {feature.layer} of {self.trial or feature.encoder or feature.encoder_hash}"
        elif isinstance(feature, ResidualConfig):
            words = "residual"
        else:
            words = feature.slug
            size = getattr(feature, "num_coefficients", None)
            words += f"{3 * size}" if size else ""
        return f"{words}, k={self.kmeans.clustering.num_clusters}"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the workers of a trial reserve while it trains; 0 workers train inside the trial's own process."""

    num_workers: int
    cpus_per_worker: float
    gpus_per_worker: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run, of the same name in tables, directories and curves."""

    name: str
    variant: str
    preset: str
    scale: str
    overrides: tuple[str, ...]  # KEY=VALUE, as `load_config` takes them
    point: Mapping[str, Any]  # the axes' values by config path
    config: PretrainConfig
    identity: str  # hash of all that its weights depend on beside the audio; names, workers and logging do not count
    labels: tuple[LabelNeed, ...]  # in the order of the heads
    after: str = ""  # the trial whose last checkpoint its hidden targets come from
    wave: int = 0  # 0 can begin at once; 1 after the trials of wave 0, and so on

    @property
    def resources(self) -> Resources:
        """From its `scaling` section."""
        scaling = self.config.scaling
        return Resources(
            num_workers=scaling.num_workers,
            cpus_per_worker=scaling.cpus_per_worker,
            gpus_per_worker=scaling.gpus_per_worker,
        )

    @property
    def step_s(self) -> float:
        """Seconds of audio in one step: `audio.batch_s` in whole crops."""
        return self.config.audio.batch_clips * self.config.audio.crop_s

    def config_after(self, encoder: str) -> PretrainConfig:
        """The settings with the encoder that the trial before left, wherever a hidden target names none.

        Args:
            encoder: that trial's run or checkpoint directory.
        """

        def filled(feature: FeatureConfig) -> FeatureConfig:
            return feature.model_copy(update={"encoder": encoder}) if is_open(feature) else feature

        joint = tuple(filled(feature) for feature in self.config.joint_features)
        return self.config.model_copy(update={"feature": filled(self.config.feature), "joint_features": joint})


def is_open(feature: FeatureConfig) -> TypeGuard[HiddenConfig]:
    """Whether it is a hidden layer of an encoder that is not named yet."""
    return isinstance(feature, HiddenConfig) and not (feature.encoder or feature.encoder_hash)


def label_needs(config: PretrainConfig, *, parent: Trial | None) -> tuple[LabelNeed, ...]:
    """The codebooks of a run's heads, in their order; none for an objective without labels."""
    needs: list[LabelNeed] = []
    for kmeans in config.label_configs:
        feature = kmeans.feature
        trial = parent if parent is not None and is_open(feature) else None
        follows = needs[-1].key if needs and isinstance(feature, ResidualConfig) and feature.is_open else ""
        parents = [trial.identity if trial else "", follows]
        key = hash_of([feature.identity, kmeans.clustering.identity, *parents])
        needs.append(LabelNeed(key=key, kmeans=kmeans, trial=trial.name if trial else "", follows=follows))
    return tuple(needs)
