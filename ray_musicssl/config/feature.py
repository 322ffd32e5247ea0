"""Target features: what k-means clusters into labels.

Conventions:
    Two sections describe the same feature if their `identity` is equal; nothing compares the sections themselves.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section
from ray_musicssl.errors import ConfigError, DataError

HIGHEST_MIDI = 118  # 7459 Hz; the band of 119 would reach beyond half the sample rate


class FeatureSection(Section):
    """What every target feature's section can say of itself; it also has a `name`."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that the frames depend on, as JSON-like values: what is compared and what hashes cover."""
        return self.model_dump(mode="json")

    @property
    def slug(self) -> str:
        """A short word for names of directories."""
        return str(self.identity["name"])

    @property
    def words(self) -> str:
        """The settings as a command line writes them: `feature.name=mfcc feature.num_coefficients=13`."""
        return " ".join(f"feature.{key}={value}" for key, value in self.model_dump(mode="json").items() if value != "")


class MfccConfig(FeatureSection):
    """Kaldi MFCC with first and second differences, 100 Hz."""

    name: Literal["mfcc"] = "mfcc"
    num_coefficients: int = Field(default=13, ge=1, le=23)
    """Cepstra including C0; the feature has three times as many dimensions. Source: Ma et al. 2023, 3.1 (13 and 20)."""


class SemitoneConfig(FeatureSection):
    """Log spectrum in semitone bands, unit norm, 50 Hz: it hears harmony, to which MFCC is deaf."""

    name: Literal["semitone"] = "semitone"
    lowest_midi: int = Field(default=33, ge=12, le=96)
    """MIDI number of the lowest band (33 is A1, 55 Hz)."""
    num_semitones: int = Field(default=60, ge=12, le=96)
    """Number of bands, one a semitone."""
    window_s: float = Field(default=0.256, ge=0.064, le=1.024)
    """Length of the analysis window; longer tells low notes apart, shorter keeps onsets sharp."""

    @model_validator(mode="after")
    def _bands_are_audible(self) -> "SemitoneConfig":
        highest = self.lowest_midi + self.num_semitones - 1
        if highest > HIGHEST_MIDI:
            raise ValueError(
                f"lowest_midi={self.lowest_midi} and num_semitones={self.num_semitones} reach MIDI note {highest}; "
                f"{HIGHEST_MIDI} is the last below 8 kHz"
            )
        return self


class HiddenConfig(FeatureSection):
    """A hidden layer of a trained encoder, 50 Hz: the targets of every iteration after the first."""

    name: Literal["hidden"] = "hidden"
    encoder: str = ""
    """Run directory, checkpoint directory or Hugging Face folder of the encoder that the last iteration left."""
    layer: int = Field(default=6, ge=0)
    """Transformer layer, from 1; 0 is the transformer's input. Source: HuBERT's second iteration (layer 6 of 12)."""
    encoder_hash: str = ""
    """Hash of the encoder's weights, filled in by the stages: it, and not the path, says which encoder this is."""

    @property
    def identity(self) -> dict[str, Any]:
        """Layer and weights. A moved encoder is the same feature; weights not looked at yet are known by their path."""
        return self.model_dump(mode="json", exclude={"encoder"} if self.encoder_hash else set())

    @property
    def slug(self) -> str:
        """Layer and weights, so that one iteration's files lie beside another's."""
        return f"{self.name}{self.layer}-{self.encoder_hash[:8]}"

    def check_encoder(self) -> None:
        """Check that an encoder is named and that something is there, without loading it.

        Raises:
            ConfigError: if `encoder` is empty.
            DataError: if there is nothing at that path.
        """
        if not self.encoder:
            raise ConfigError(
                "feature.encoder is not set: the feature hidden is a layer of the encoder that the iteration before left; "
                "give feature.encoder=RUN, a run directory, a checkpoint directory or a Hugging Face folder"
            )
        if not Path(self.encoder).exists():
            raise DataError(
                f"no encoder at {self.encoder}, of which the feature hidden is a layer; say where it lies now with "
                f"feature.encoder=RUN (`label`: --encoder RUN)"
            )


class ResidualConfig(FeatureSection):
    """What a codebook leaves of the frames it quantises, at their rate: the next stage of residual k-means."""

    name: Literal["residual"] = "residual"
    codebook: str = ""
    """Directory of the codebook whose centroids are taken off; empty only under `pipeline`, which fits it first."""
    codebook_hash: str = ""
    """Hash of that codebook, filled in by the stages: it, and not the path, says which codebook this is."""

    @property
    def identity(self) -> dict[str, Any]:
        """The codebook. A moved one is the same feature; one not looked at yet is known by its path."""
        return self.model_dump(mode="json", exclude={"codebook"} if self.codebook_hash else set())

    @property
    def slug(self) -> str:
        """The codebook, so that stages over different ones lie side by side."""
        return f"{self.name}-{self.codebook_hash[:8]}"

    @property
    def is_open(self) -> bool:
        """Whether it names no codebook yet, neither by path nor by hash."""
        return not (self.codebook or self.codebook_hash)

    def check_codebook(self) -> None:
        """Check that a codebook is named and that something is there, without loading it.

        Raises:
            ConfigError: if `codebook` is empty.
            DataError: if there is nothing at that path.
        """
        if not self.codebook:
            raise ConfigError(
                "feature.codebook is not set: the feature residual is what a codebook leaves of its frames; give "
                "feature.codebook=CODEBOOK, what `kmeans` wrote for the stage before (in joint_features: "
                "{name: residual, codebook: CODEBOOK}); only `pipeline` fills it in, for entries of joint_features"
            )
        if not Path(self.codebook).exists():
            raise DataError(
                f"no codebook at {self.codebook}, of whose frames the feature residual is what is left; say where it lies "
                f"now with feature.codebook=CODEBOOK (`label`: give it as a --codebook too)"
            )


FeatureConfig = Annotated[
    MfccConfig | SemitoneConfig | HiddenConfig | ResidualConfig,
    Field(discriminator="name"),
]
