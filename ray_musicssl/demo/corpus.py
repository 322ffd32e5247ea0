"""The list of files of a demo corpus, and how one of them is made.

Conventions:
    A plan is a function of (preset, seed, sets) and costs nothing; a file is a function of its job alone.
    Each set draws its pieces from a seed of its own, so that no pool song is ever a probe song.
    `pool/` is any folder of audio; `datasets/<set>/` holds a data set under its official names.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from ray_musicssl.demo.compose import GENERATOR_VERSION
from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.phrases import draw_phrase, notes_of
from ray_musicssl.demo.planners import PLANNERS
from ray_musicssl.demo.presets import PRESETS
from ray_musicssl.demo.synth import Wave, render_phrase, render_score, render_tone
from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest
from ray_musicssl.run_dir import hash_of, replacing

SETS = tuple(PLANNERS)
_SEEDS_PER_CORPUS = 16  # room for more sets without moving the ones there are
_ENCODINGS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


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


def choose_sets(words: str) -> tuple[str, ...]:
    """The sets that words such as "pool,gtzan" name; "all" means every one. `plan` refuses wrong names."""
    return SETS if words == "all" else tuple(word.strip() for word in words.split(",") if word.strip())


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
    jobs = tuple(job for name in chosen for job in PLANNERS[name](sizes, _set_seed(seed, name)))
    return DemoPlan(preset=preset, seed=seed, sets=chosen, jobs=jobs)


def _set_seed(seed: int, set_name: str) -> int:
    return seed * _SEEDS_PER_CORPUS + SETS.index(set_name)


def render(job: FileJob) -> Wave:
    """The mono waveform of a file, at the job's sample rate."""
    rng = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, job.seed, job.index, 1]))
    if job.take is not None:
        take = job.take
        phrase = draw_phrase(rng, number=take.singer, context=take.context, vowel=take.vowel, duration_s=job.duration_s)
        notes = notes_of(phrase, number=take.singer, technique=take.technique)
        return render_phrase(notes, job.duration_s, job.sample_rate, rng)
    if job.tone is not None:
        return render_tone(
            job.tone.instrument,
            pitch=job.tone.pitch,
            velocity=job.tone.velocity,
            duration_s=job.duration_s,
            sample_rate=job.sample_rate,
            rng=rng,
        )
    return render_score(job.score(), job.sample_rate, rng)


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
