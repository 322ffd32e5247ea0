"""Target features: what k-means clusters into labels.

Conventions:
    Two sections describe the same feature if their `identity` is equal; nothing compares the sections themselves.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from ray_musicssl.config.feature_section import FeatureSection
from ray_musicssl.config.harmony import ChromaConfig, CqtConfig, SemitoneConfig
from ray_musicssl.errors import ConfigError, DataError


class MfccConfig(FeatureSection):
    """Kaldi MFCC with first and second differences, 100 Hz."""

    name: Literal["mfcc"] = "mfcc"
    num_coefficients: int = Field(default=13, ge=1, le=23)
    """Cepstra including C0; the feature has three times as many dimensions. Source: Ma et al. 2023, 3.1 (13 and 20)."""


class LogmelConfig(FeatureSection):
    """Kaldi log mel spectrum, 100 Hz: what MFCC is made of, with its dimensions correlated."""

    name: Literal["logmel"] = "logmel"
    num_bands: int = Field(default=80, ge=4, le=126)
    """Mel bands from 20 Hz to 8 kHz; with more, some would lie between two bins of the spectrum."""


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


Part = Annotated[MfccConfig | SemitoneConfig | ChromaConfig | CqtConfig | LogmelConfig, Field(discriminator="name")]
SPREADS_VERSION = 1  # raise it when a feature's `spread` changes: codebooks of combinations are then others
PART_NAMES = tuple(section.model_fields["name"].default for section in get_args(get_args(Part)[0]))


class CombinedConfig(FeatureSection):
    """Several features side by side, one codebook of all: `feature.name=mfcc+semitone` for short.

    Frames are taken where the slowest part has them. Each part is divided by what its feature typically strays from its
    mean (`spread` in its file), so that none drowns the others, and multiplied by its weight.
    """

    name: Literal["combined"] = "combined"
    parts: tuple[Part, ...]
    """The sections of the features, in the order of the dimensions."""
    weights: tuple[Annotated[float, Field(gt=0)], ...]
    """One a part; 1 each if none are given. Twice the weight counts four times in squared distances."""

    @model_validator(mode="before")
    @classmethod
    def _check_parts(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        parts = values.get("parts")
        if not isinstance(parts, list | tuple) or len(parts) < 2:
            raise ValueError(
                f"a combined feature needs two parts or more, not {parts}; write feature.name=mfcc+semitone, or "
                f"feature.name=combined 'feature.parts=[{{name: mfcc, num_coefficients: 20}}, {{name: semitone}}]'"
            )
        for part in parts:
            _check_part_name(part.get("name") if isinstance(part, Mapping) else getattr(part, "name", part))
        return {**values, "weights": values.get("weights") or [1.0] * len(parts)}

    @model_validator(mode="after")
    def _parts_fit_weights(self) -> "CombinedConfig":
        if len(self.weights) != len(self.parts):
            raise ValueError(
                f"weights={list(self.weights)} are {len(self.weights)} for {len(self.parts)} parts ({self.slug}); give one each"
            )
        for index, part in enumerate(self.parts):
            if part in self.parts[:index]:
                raise ValueError(f"parts name {part.name} with the same settings twice; raise its weight instead")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """Parts and weights, and which constants the parts are divided by."""
        return {**self.model_dump(mode="json"), "spreads": SPREADS_VERSION}

    @property
    def slug(self) -> str:
        """The parts' words, as in the short form."""
        return "+".join(part.slug for part in self.parts)

    @property
    def words(self) -> str:
        """The short form where every part has the defaults, else the sections, quoted for a shell."""
        weights = [] if set(self.weights) == {1.0} else [f"feature.weights={json.dumps(self.weights)}"]
        if all(part == type(part)() for part in self.parts):
            return " ".join([f"feature.name={self.slug}", *(quote(word) for word in weights)])
        parts = [part.model_dump(mode="json") for part in self.parts]
        words = [f"feature.parts={json.dumps(parts)}", *weights]
        return " ".join([f"feature.name={self.name}", *(quote(word) for word in words)])


def _check_part_name(name: Any) -> None:
    allowed = f"parts are {', '.join(PART_NAMES)}"
    if name == "hidden":
        raise ValueError(
            f"hidden cannot be a part of a combined feature, as learned frames have no spread of their own; {allowed}; "
            f"give it labels of its own with joint_features"
        )
    if name not in PART_NAMES:
        raise ValueError(f"{name!r} cannot be a part of a combined feature; {allowed}, side by side")


def _in_full(section: Any) -> Any:
    """The section that `{name: mfcc+semitone}` is short for; any other as it is."""
    if not isinstance(section, Mapping) or "+" not in str(section.get("name")):
        return section
    if "parts" in section:
        raise ValueError(
            f"name={section['name']} says what the parts are, and parts={section['parts']} too; give feature.name=combined "
            f"with parts, or leave parts out"
        )
    parts = [{"name": name.strip()} for name in section["name"].split("+")]
    return {**section, "parts": parts, "name": "combined"}


FeatureConfig = Annotated[
    MfccConfig
    | SemitoneConfig
    | ChromaConfig
    | CqtConfig
    | LogmelConfig
    | HiddenConfig
    | ResidualConfig
    | CombinedConfig,
    Field(discriminator="name"),
    BeforeValidator(_in_full),
]
