"""Everything one pre-training run depends on."""

from typing import Literal

from pydantic import Field, model_validator

from ray_musicssl.config.audio import AudioConfig
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig, MfccConfig, ResidualConfig
from ray_musicssl.config.masking import MaskingConfig
from ray_musicssl.config.objective import JointConfig, Music2VecConfig, MusicHubertConfig, ObjectiveConfig
from ray_musicssl.config.optim import OptimConfig
from ray_musicssl.config.scaling import ScalingConfig
from ray_musicssl.config.section import Section
from ray_musicssl.config.training import TrainingConfig


class KmeansConfig(Section):
    """Everything one codebook depends on, beside the audio."""

    feature: FeatureConfig = MfccConfig()
    clustering: ClusteringConfig = ClusteringConfig()

    @property
    def target_features(self) -> tuple[FeatureConfig, ...]:
        """The features that are clustered into labels."""
        return (self.feature,)

    def check_encoders(self, *, codebooks_follow: bool = False) -> None:
        """Check that every encoder and codebook that targets come from is named and there, without loading it.

        One that is named by its hash may be absent: labels that are made already can be trained on without it.

        Args:
            codebooks_follow: whether the codebook of a `residual` that names none will be fitted, as `pipeline` does for
                all but the first target.

        Raises:
            ConfigError: if a target feature is `hidden` without an encoder or `residual` without a codebook.
            DataError: if there is nothing at the path of one.
        """
        for number, feature in enumerate(self.target_features):
            if isinstance(feature, HiddenConfig) and not feature.encoder_hash:
                feature.check_encoder()
            follows = codebooks_follow and number > 0
            if isinstance(feature, ResidualConfig) and not feature.codebook_hash and not (follows and feature.is_open):
                feature.check_codebook()


class PretrainConfig(KmeansConfig):
    """One run: its targets, encoder, objective and recipe."""

    schema_version: Literal[1] = 1
    preset: str = ""
    """Name of the preset this started from."""
    scale: str = ""
    """Name of the scale laid over the preset; empty at the preset's own size."""
    init_from: str = ""
    """Encoder to begin with: a run or checkpoint directory or a Hugging Face folder; empty: random weights. Heads are new."""
    joint_features: tuple[FeatureConfig, ...] = ()
    """Further target features; each gets its own labels and its own head, and their losses are added."""
    objective: ObjectiveConfig = MusicHubertConfig()
    encoder: EncoderConfig = EncoderConfig()
    masking: MaskingConfig = MaskingConfig()
    audio: AudioConfig = AudioConfig()
    optim: OptimConfig = OptimConfig()
    training: TrainingConfig = TrainingConfig()
    scaling: ScalingConfig = Field(default=ScalingConfig())

    @property
    def uses_labels(self) -> bool:
        """Whether the objective needs label shards."""
        return self.label_prediction is not None

    @property
    def label_prediction(self) -> MusicHubertConfig | None:
        """The settings of the heads that predict labels, if the objective has any."""
        objective = self.objective
        if isinstance(objective, JointConfig):
            return objective.musichubert
        return objective if isinstance(objective, MusicHubertConfig) else None

    @property
    def teacher(self) -> Music2VecConfig | None:
        """The settings of the teacher, if the objective has one."""
        objective = self.objective
        if isinstance(objective, JointConfig):
            return objective.music2vec
        return objective if isinstance(objective, Music2VecConfig) else None

    @property
    def target_features(self) -> tuple[FeatureConfig, ...]:
        """The features that are clustered into labels, in the order of the heads; none if the objective uses no labels."""
        return (self.feature, *self.joint_features) if self.uses_labels else ()

    @property
    def label_configs(self) -> tuple[KmeansConfig, ...]:
        """One codebook's settings for each label set, in the order of the heads."""
        return tuple(KmeansConfig(feature=feature, clustering=self.clustering) for feature in self.target_features)

    @model_validator(mode="after")
    def _targets_differ(self) -> "PretrainConfig":
        identities = [feature.identity for feature in self.target_features]
        for index, feature in enumerate(self.target_features):
            is_open = (
                isinstance(feature, ResidualConfig) and feature.is_open
            )  # each of these is of the target before it
            if feature.identity in identities[:index] and not is_open:
                raise ValueError(
                    f"the target feature {feature.slug} is given twice with the same settings, which would only double its "
                    f"loss; leave it out of joint_features ([] for none)"
                )
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "PretrainConfig":
        for stage in self.audio.stages():
            where = f"a crop of audio.crop_s={stage.crop_s} s ({stage.crop_frames} frames)"
            if self.masking.mask_length > stage.crop_frames:
                raise ValueError(f"masking.mask_length={self.masking.mask_length} frames is longer than {where}")
            num_spans = self.masking.fewest_spans(stage.crop_frames)
            if num_spans >= stage.crop_frames:
                raise ValueError(
                    f"masking.min_masks={self.masking.min_masks} and mask_prob={self.masking.mask_prob} put {num_spans} spans "
                    f"into {where} and hide all of it; lower them or raise mask_length"
                )
        if self.teacher and self.teacher.top_k > self.encoder.num_layers:
            where = "objective.music2vec" if isinstance(self.objective, JointConfig) else "objective"
            raise ValueError(
                f"{where}.top_k={self.teacher.top_k} is above encoder.num_layers={self.encoder.num_layers}"
            )
        fewest = min(stage.num_micro_batches for stage in self.audio.stages())
        if self.scaling.num_workers > fewest:
            raise ValueError(
                f"scaling.num_workers={self.scaling.num_workers} but a step has {fewest} micro-batches; "
                f"lower audio.micro_batch_s (now {self.audio.micro_batch_s}) or raise audio.batch_s"
            )
        return self
