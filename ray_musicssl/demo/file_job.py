"""One audio file of a demo corpus: where it lies and everything that its sound depends on."""

from dataclasses import dataclass

from ray_musicssl.demo.compose import Arrangement, compose
from ray_musicssl.demo.instruments import Instrument
from ray_musicssl.demo.score import Score
from ray_musicssl.demo.theory import key_named


@dataclass(frozen=True)
class Tone:
    """A single note of the NSynth-like set."""

    instrument: Instrument
    pitch: int
    velocity: int

    @property
    def name(self) -> str:
        """NSynth's `<instrument>-<pitch>-<velocity>`."""
        return f"{self.instrument.name}-{self.pitch:03d}-{self.velocity:03d}"


@dataclass(frozen=True)
class Take:
    """A recording of the VocalSet-like set: who sings what, and how."""

    singer: int  # of `voices.SINGERS`
    context: str  # one of `phrases.CONTEXTS`
    technique: str  # one of `voices.TECHNIQUES`
    vowel: str  # one of `voices.VOWELS`


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """One audio file and everything that its sound depends on."""

    path: str  # relative to the corpus
    set_name: str
    split: str  # "pool" for the pool, "all" where the data set has no split of its own
    seed: int
    index: int
    container: str
    sample_rate: int
    duration_s: float
    channels: int = 1
    style: str = ""  # of a song
    key: str = ""  # of a song; empty: drawn
    arrangement: Arrangement = "band"  # of a song
    tone: Tone | None = None  # instead of a song
    take: Take | None = None  # instead of a song

    def score(self) -> Score:
        """The song's score."""
        key = key_named(self.key) if self.key else None
        return compose(self.seed, self.index, self.style, self.duration_s, key, arrangement=self.arrangement)

    @property
    def size_bytes(self) -> int:
        """About the size of the file, never less (it is that of 16-bit PCM)."""
        return round(self.duration_s * self.sample_rate) * self.channels * 2
