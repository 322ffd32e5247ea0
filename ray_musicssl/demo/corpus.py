"""The list of files of a demo corpus, and how one of them is made.

Conventions:
    A plan is a function of (preset, seed, sets) and costs nothing; a file is a function of its job alone.
    Each set draws its pieces from a seed of its own, so that no pool song is ever a probe song.
    `pool/` is any folder of audio; `datasets/<set>/` holds a data set under its official names.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from ray_musicssl.demo.compose import GENERATOR_VERSION, compose
from ray_musicssl.demo.instruments import Instrument, split_instruments
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.presets import PRESETS, DemoPreset
from ray_musicssl.demo.score import Score
from ray_musicssl.demo.synth import Wave, render_score, render_tone
from ray_musicssl.demo.theory import ALL_KEYS, key_named
from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest
from ray_musicssl.run_dir import hash_of, replacing

SETS = ("pool", "gtzan", "giantsteps", "nsynth", "emomusic")
_SEEDS_PER_CORPUS = 16  # room for more sets without moving the ones there are
_ENCODINGS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# (container, sample rate, channels) of the pool in turn. MP3 only at 16 kHz: its encoder is the slowest part of all.
_POOL_FORMATS = (
    ("wav", 22_050, 1),
    ("flac", 16_000, 1),
    ("mp3", 16_000, 1),
    ("flac", 44_100, 2),
    ("ogg", 16_000, 1),
    ("wav", 16_000, 1),
    ("flac", 22_050, 1),
    ("mp3", 16_000, 1),
)
# Styles of the key set: those whose harmony says its key within a few seconds, as dance music does.
_KEY_STYLES = ("pop", "disco", "hiphop", "reggae", "country")
_KEY_FOLDERS = {
    "train": "giantsteps-mtg-key-dataset",
    "valid": "giantsteps-mtg-key-dataset",
    "test": "giantsteps-key-dataset",
}
_NOTE_PITCHES = range(24, 85)
# Source: NSynth's five velocities.
_NOTE_VELOCITIES = (25, 50, 75, 100, 127)


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


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """One audio file and everything that its sound depends on."""

    path: str  # relative to the corpus
    set_name: str
    split: str  # "pool" for the pool
    seed: int
    index: int
    container: str
    sample_rate: int
    duration_s: float
    channels: int = 1
    style: str = ""  # of a song
    key: str = ""  # of a song; empty: drawn
    tone: Tone | None = None  # instead of a song

    def score(self) -> Score:
        """The song's score."""
        key = key_named(self.key) if self.key else None
        return compose(self.seed, self.index, self.style, self.duration_s, key)

    @property
    def size_bytes(self) -> int:
        """About the size of the file, never less (it is that of 16-bit PCM)."""
        return round(self.duration_s * self.sample_rate) * self.channels * 2


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """The files of a corpus, in a fixed order."""

    preset: str
    seed: int
    sets: tuple[str, ...]
    jobs: tuple[FileJob, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of what the corpus depends on."""
        sizes = asdict(PRESETS[self.preset])
        return hash_of({"sizes": sizes, "seed": self.seed, "sets": self.sets, "version": GENERATOR_VERSION})

    @property
    def seconds(self) -> float:
        """Audio in all files, in seconds."""
        return sum(job.duration_s for job in self.jobs)

    def jobs_of(self, set_name: str, split: str | None = None) -> list[FileJob]:
        """The jobs of a set, or of one of its splits."""
        return [job for job in self.jobs if job.set_name == set_name and split in {None, job.split}]


def plan(preset: str, seed: int, sets: Collection[str] = SETS) -> DemoPlan:
    """List the files of a corpus.

    Args:
        preset: a name of `PRESETS`.
        seed: another seed gives another corpus of the same kind.
        sets: which of `SETS` to make; their order does not matter.

    Raises:
        ConfigError: if the preset or a set is unknown, no set is named, or the seed is negative.
    """
    if preset not in PRESETS:
        known = list(PRESETS)
        raise ConfigError(f'unknown demo preset "{preset}"{nearest(preset, known)}; known: {", ".join(known)}')
    for name in sets:
        if name not in SETS:
            raise ConfigError(f'unknown demo set "{name}"{nearest(name, list(SETS))}; known: {", ".join(SETS)}')
    if not sets:
        raise ConfigError(f"no demo set is named; name one or more of {', '.join(SETS)}")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; it must be 0 or more")
    chosen = tuple(name for name in SETS if name in sets)
    sizes = PRESETS[preset]
    jobs = tuple(job for name in chosen for job in _PLANNERS[name](sizes, _set_seed(seed, name)))
    return DemoPlan(preset=preset, seed=seed, sets=chosen, jobs=jobs)


def _set_seed(seed: int, set_name: str) -> int:
    return seed * _SEEDS_PER_CORPUS + SETS.index(set_name)


def _plan_pool(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    styles = list(STYLES)
    for index in range(sizes.pool_songs):
        container, sample_rate, channels = _POOL_FORMATS[index % len(_POOL_FORMATS)]
        yield FileJob(
            path=f"pool/song-{index:05d}.{container}",
            set_name="pool",
            split="pool",
            seed=seed,
            index=index,
            style=styles[index % len(styles)],
            container=container,
            sample_rate=sample_rate,
            channels=channels,
            duration_s=sizes.pool_song_s,
        )


def _plan_gtzan(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    splits = [split for split, size in sizes.gtzan_per_genre.by_split() for _ in range(size)]
    for genre_index, genre in enumerate(STYLES):
        for number, split in enumerate(splits):
            yield FileJob(
                path=f"datasets/gtzan/genres/{genre}/{genre}.{number:05d}.wav",
                set_name="gtzan",
                split=split,
                seed=seed,
                index=1000 * genre_index + number,
                style=genre,
                container="wav",
                sample_rate=22_050,
                duration_s=sizes.gtzan_song_s,
            )


def _plan_giantsteps(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    keys = ALL_KEYS[:: len(ALL_KEYS) // sizes.num_keys]
    index = 0
    for split, size in sizes.tracks_per_key.by_split():
        folder = _KEY_FOLDERS[split]
        for track in range(size * len(keys)):
            yield FileJob(
                # Identifiers look like the shop's; the step keeps them from being a plain count.
                path=f"datasets/giantsteps/{folder}/audio/{1_004_923 + 37 * index}.LOFI.mp3",
                set_name="giantsteps",
                split=split,
                seed=seed,
                index=index,
                style=_KEY_STYLES[track % len(_KEY_STYLES)],
                key=keys[track % len(keys)].name,
                container="mp3",
                sample_rate=16_000,
                duration_s=sizes.key_track_s,
            )
            index += 1


def _plan_nsynth(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    # Every pitch of valid and test is one that train has: a class never seen could not be learned.
    rng = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, seed]))
    train_pitches = rng.permutation(np.resize(rng.permutation(_NOTE_PITCHES), sizes.nsynth_notes.train))
    index = 0
    for split, size in sizes.nsynth_notes.by_split():
        wanted = train_pitches if split == "train" else rng.permutation(np.unique(train_pitches))
        pitches = np.resize(wanted, size)
        for tone in _distinct_tones(rng, split, [int(pitch) for pitch in pitches]):
            yield FileJob(
                path=f"datasets/nsynth/nsynth-{split}/audio/{tone.name}.wav",
                set_name="nsynth",
                split=split,
                seed=seed,
                index=index,
                tone=tone,
                container="wav",
                sample_rate=16_000,
                duration_s=sizes.nsynth_note_s,
            )
            index += 1


def _plan_emomusic(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    styles = list(STYLES)
    splits = [split for split, size in sizes.emomusic_clips.by_split() for _ in range(size)]
    for index, split in enumerate(splits):
        yield FileJob(
            path=f"datasets/emomusic/clips_45seconds/{index + 2}.mp3",  # the official numbers begin at 2
            set_name="emomusic",
            split=split,
            seed=seed,
            index=index,
            style=styles[index % len(styles)],
            container="mp3",
            sample_rate=16_000,
            duration_s=sizes.emomusic_clip_s,
        )


def _distinct_tones(rng: np.random.Generator, split: str, pitches: list[int]) -> Iterator[Tone]:
    choices = split_instruments(split)
    order = np.resize(rng.permutation(len(choices)), len(pitches))
    seen: set[Tone] = set()
    for pitch, choice in zip(pitches, rng.permutation(order), strict=True):
        tone = Tone(choices[choice], pitch, int(rng.choice(_NOTE_VELOCITIES)))
        while tone in seen:
            tone = Tone(choices[int(rng.integers(len(choices)))], pitch, int(rng.choice(_NOTE_VELOCITIES)))
        seen.add(tone)
        yield tone


_PLANNERS: dict[str, Callable[[DemoPreset, int], Iterator[FileJob]]] = {
    "pool": _plan_pool,
    "gtzan": _plan_gtzan,
    "giantsteps": _plan_giantsteps,
    "nsynth": _plan_nsynth,
    "emomusic": _plan_emomusic,
}


def render(job: FileJob) -> Wave:
    """The mono waveform of a file, at the job's sample rate."""
    rng = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, job.seed, job.index, 1]))
    if job.tone is None:
        return render_score(job.score(), job.sample_rate, rng)
    return render_tone(
        job.tone.instrument,
        pitch=job.tone.pitch,
        velocity=job.tone.velocity,
        duration_s=job.duration_s,
        sample_rate=job.sample_rate,
        rng=rng,
    )


def make_file(job: FileJob, out_dir: Path) -> None:
    """Render one file and write it whole; an existing one is replaced."""
    wave = render(job)
    if job.channels == 2:
        # The right microphone stands a little further away.
        late = np.concatenate([np.zeros(12, np.float32), wave[:-12]])
        wave = np.stack([wave, late * np.float32(0.8)], axis=1)
    container, subtype = _ENCODINGS[job.container]
    with replacing(out_dir / job.path) as temporary:
        soundfile.write(temporary, wave, job.sample_rate, format=container, subtype=subtype)
