"""Target features that hear harmony: spectra in notes and in pitch classes.

Conventions:
    Notes are MIDI numbers: 69 is A4, 440 Hz; 60 is the middle C. Audio is taken as it is, never tuned.
"""

from typing import Literal

from pydantic import Field, model_validator

from ray_musicssl.config.feature_section import FeatureSection

HIGHEST_MIDI = 118  # 7459 Hz; the band of 119 would reach beyond half the sample rate
CHROMA_WINDOW_S = 0.256


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


class ChromaConfig(FeatureSection):
    """Energy in the 12 pitch classes, C first, 50 Hz: harmony alone, in whatever octave and colour it sounds."""

    name: Literal["chroma"] = "chroma"
    lowest_midi: int = Field(default=36, ge=12, le=HIGHEST_MIDI)
    """MIDI number of the lowest note that counts (36 is C2, 65 Hz)."""
    highest_midi: int = Field(default=95, ge=12, le=HIGHEST_MIDI)
    """MIDI number of the highest (95 is B6, 1976 Hz); above lie overtones and cymbals, more than notes."""
    spectrum: Literal["stft", "cqt"] = "stft"
    """What is folded: a spectrum of one window, or a constant-Q transform, long in the bass and short above; it also takes a
    quarter of the time."""
    window_s: float = Field(default=CHROMA_WINDOW_S, ge=0.064, le=1.024)
    """Length of the analysis window; longer tells low notes apart, shorter keeps changes sharp."""
    compression: Literal["log", "amplitude", "power"] = "log"
    """What a class counts by: log(1 + 1000 amplitude), so that soft notes count too, or amplitude, or power."""
    norm: Literal["euclidean", "max", "sum"] = "euclidean"
    """What is 1 in every frame that is not silent."""

    @model_validator(mode="after")
    def _window_is_used(self) -> "ChromaConfig":
        if self.spectrum == "cqt" and self.window_s != CHROMA_WINDOW_S:
            raise ValueError(
                f"window_s={self.window_s} has no effect with spectrum=cqt, whose windows follow from the notes; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _spans_an_octave(self) -> "ChromaConfig":
        if self.highest_midi < self.lowest_midi + 11:
            raise ValueError(
                f"lowest_midi={self.lowest_midi} and highest_midi={self.highest_midi} leave pitch classes without a note; "
                f"highest_midi must be at least lowest_midi + 11"
            )
        return self


class CqtConfig(FeatureSection):
    """Log magnitudes of a constant-Q transform, unit norm, 50 Hz: notes with the same number of cycles in every octave."""

    name: Literal["cqt"] = "cqt"
    lowest_midi: int = Field(default=36, ge=12, le=96)
    """MIDI number of the lowest bin (36 is C2, 65 Hz)."""
    num_bins: int = Field(default=72, ge=12, le=320)
    """Number of bins from there up."""
    bins_per_octave: Literal[12, 24, 36] = 12
    """12: notes; 24 and 36 also hear what lies between, with kernels two and three times as long."""
    filter_scale: float = Field(default=1.0, ge=0.5, le=2.0)
    """Length of the kernels over that of the transform proper; below 1 onsets stay sharper, above 1 notes are told apart
    better."""

    @model_validator(mode="after")
    def _bins_are_audible(self) -> "CqtConfig":
        highest = self.lowest_midi + 12 * (self.num_bins - 1) / self.bins_per_octave
        if highest > HIGHEST_MIDI:
            raise ValueError(
                f"lowest_midi={self.lowest_midi}, num_bins={self.num_bins} and bins_per_octave={self.bins_per_octave} reach "
                f"MIDI note {highest:.1f}; {HIGHEST_MIDI} is the last below 8 kHz"
            )
        return self
