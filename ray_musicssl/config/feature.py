"""Target features: what k-means clusters into labels."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section

HIGHEST_MIDI = 118  # 7459 Hz; the band of 119 would reach beyond half the sample rate


class MfccConfig(Section):
    """Kaldi MFCC with first and second differences, 100 Hz."""

    name: Literal["mfcc"] = "mfcc"
    num_coefficients: int = Field(default=13, ge=1, le=23)
    """Cepstra including C0; the feature has three times as many dimensions. Source: Ma et al. 2023, 3.1 (13 and 20)."""


class SemitoneConfig(Section):
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


FeatureConfig = Annotated[MfccConfig | SemitoneConfig, Field(discriminator="name")]
