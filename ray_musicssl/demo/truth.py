"""What sounds at a moment of a demo song: the classes that labels are held against.

Conventions:
    A song's truth is read off its score, so it is a function of the song's job and costs no audio.
    Classes are numbers in [0, len(names)) of their kind; -1 where the kind has no class (nothing tonal sounds, or a
    voice that leaves the written pitch).
    Times are seconds from the start of the song, ascending or not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from ray_musicssl.demo.corpus import DemoPlan, plan
from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.instruments import FAMILIES
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.score import Note, Score
from ray_musicssl.demo.techniques import keeps_pitch
from ray_musicssl.demo.theory import ALL_KEYS, TONICS, Chord
from ray_musicssl.demo.timbre import timbre_of
from ray_musicssl.errors import ConfigError
from ray_musicssl.run_dir import done_facts

Times = Float64[np.ndarray, " frames"]
Classes = Int64[np.ndarray, " frames"]

LOWEST_PITCH, HIGHEST_PITCH = 21, 108  # the piano's range holds every pitch that is written
# Source: the kit's decays (drums.py): 0.1 s after its beginning any stroke but a cymbal is some 10 dB down or more.
STROKE_S = 0.1
_TRIADS: tuple[tuple[int, ...], ...] = ((0, 4, 7), (0, 3, 7), (0, 3, 6))
_QUALITIES = ("major", "minor", "diminished")  # of the triads, in their order
_BLOCK = 4096  # frames whose notes are compared at once

# Kinds of truth, each with the names of its classes.
KINDS: Mapping[str, tuple[str, ...]] = {
    "note": tuple(f"{TONICS[p % 12]}{p // 12 - 1}" for p in range(LOWEST_PITCH, HIGHEST_PITCH + 1)),
    "pitch_class": TONICS,
    "bass": TONICS,
    "chord": tuple(f"{tonic} {quality}" for quality in _QUALITIES for tonic in TONICS),
    "key": tuple(key.name for key in ALL_KEYS),
    "instrument": FAMILIES,
    "drums": ("none", "sounding"),
    "genre": tuple(STYLES),
}
ABOUT: Mapping[str, str] = {
    "note": "pitch of the loudest note",
    "pitch_class": "its pitch class",
    "bass": "pitch class of the lowest note",
    "chord": "root and triad",
    "key": "key of the song",
    "instrument": "family of the loudest note above the bass",
    "drums": "a stroke within the last 0.1 s",
    "genre": "style of the song",
}


@dataclass(frozen=True)
class PoolSongs:
    """The songs of a corpus's pool by file name, and how they are found again in shards."""

    corpus_dir: Path
    jobs: Mapping[str, FileJob]
    fingerprint: str  # of the corpus

    def job_of(self, path: str, size_bytes: int) -> FileJob | None:
        """The job that made a file that `prepare` listed, or None if it is not, or no longer, a song of this pool."""
        job = self.jobs.get(path.rpartition("/")[2])
        if job is None:
            return None
        song_path = self.corpus_dir / job.path
        return job if song_path.exists() and song_path.stat().st_size == size_bytes else None


def open_pool(corpus_dir: Path) -> PoolSongs | None:
    """The pool of a finished demo corpus; None if there is none, or another version of the generator made it."""
    facts = done_facts(corpus_dir, "demo-data")
    if facts is None or "pool" not in facts.get("sets", ()):
        return None
    try:
        corpus: DemoPlan = plan(facts["preset"], facts["seed"], facts["sets"])
    except (ConfigError, KeyError):
        return None
    if corpus.fingerprint != facts["fingerprint"]:
        return None
    jobs = {Path(job.path).name: job for job in corpus.jobs_of("pool")}
    return PoolSongs(corpus_dir, jobs, corpus.fingerprint)


def truth_at(score: Score, times_s: Times) -> dict[str, Classes]:
    """The class of every kind at some moments of a song."""
    heard = _heard(score.notes, times_s)
    pitches = _of_notes(score.notes, heard.loudest, _pitch_of)
    return {
        "note": np.where(pitches < 0, -1, pitches - LOWEST_PITCH),
        "pitch_class": np.where(pitches < 0, -1, pitches % 12),
        "bass": _of_notes(score.notes, heard.lowest, lambda note: _pitch_of(note) % 12 if _pitch_of(note) >= 0 else -1),
        "chord": _chords(score, times_s),
        "key": np.full(len(times_s), ALL_KEYS.index(score.key), np.int64),
        "instrument": _of_notes(score.notes, heard.foremost, lambda note: FAMILIES.index(note.instrument.family)),
        "drums": _drums(score, times_s),
        "genre": np.full(len(times_s), KINDS["genre"].index(score.style), np.int64),
    }


@cache
def chord_class(chord: Chord) -> int:
    """The class of a chord: its root and triad; a seventh on top makes no difference."""
    return _TRIADS.index(chord.intervals[:3]) * 12 + chord.root


@dataclass(frozen=True, kw_only=True)
class _Heard:
    """Numbers of notes at each moment; -1 where none is held."""

    loudest: Classes
    lowest: Classes
    foremost: Classes  # the loudest that is no bass, or the bass where it plays alone


def _heard(notes: Sequence[Note], times_s: Times) -> _Heard:
    loudest, lowest, foremost = (np.full(len(times_s), -1, np.int64) for _ in range(3))
    if not notes:
        return _Heard(loudest=loudest, lowest=lowest, foremost=foremost)
    starts, held, pitches, gains, sustains, decays = _note_columns(notes).T
    # A bass counts as if it were so soft that any other note is before it.
    veiled = np.array([1e-6 if note.instrument.family == "bass" else 1.0 for note in notes])
    for first in range(0, len(times_s), _BLOCK):
        block = slice(first, first + _BLOCK)
        age_s = times_s[block, None] - starts  # [frames, notes]
        sounds = (age_s >= 0) & (age_s < held)
        fading = np.exp(-decays * np.maximum(age_s, 0))
        levels = np.where(sounds, gains * (sustains + (1 - sustains) * fading), -np.inf)
        any_sounds = sounds.any(axis=1)
        loudest[block] = np.where(any_sounds, levels.argmax(axis=1), -1)
        foremost[block] = np.where(any_sounds, (levels * veiled).argmax(axis=1), -1)
        lowest[block] = np.where(any_sounds, np.where(sounds, pitches, np.inf).argmin(axis=1), -1)
    return _Heard(loudest=loudest, lowest=lowest, foremost=foremost)


def _note_columns(notes: Sequence[Note]) -> Float64[np.ndarray, "notes columns"]:
    """Start, length, pitch, level and the two numbers of its envelope, as the synthesiser plays it."""
    rows = []
    for note in notes:
        timbre = timbre_of(note.instrument)
        # A sung note is as loud at its end as at its beginning.
        sustain = 1.0 if note.sung else timbre.sustain
        level = note.gain * note.velocity / 127
        rows.append((note.start_s, note.duration_s, note.pitch, level, sustain, timbre.decay_per_s))
    return np.array(rows, np.float64)


def _pitch_of(note: Note) -> int:
    """The pitch that is heard; -1 of a voice that leaves the written one."""
    return note.pitch if note.sung is None or keeps_pitch(note.sung.technique) else -1


def _of_notes(notes: Sequence[Note], numbers: Classes, class_of: Callable[[Note], int]) -> Classes:
    table = np.array([*(class_of(note) for note in notes), -1], np.int64)
    return table[numbers]  # -1 finds the entry behind the last note


def _chords(score: Score, times_s: Times) -> Classes:
    starts = np.array([span.start_s for span in score.chords])
    classes = np.array([-1, *(chord_class(span.chord) for span in score.chords)], np.int64)
    return classes[np.searchsorted(starts, times_s, side="right")]


def _drums(score: Score, times_s: Times) -> Classes:
    starts = np.sort([-np.inf, *(stroke.start_s for stroke in score.strokes)])
    since_s = times_s - starts[np.searchsorted(starts, times_s, side="right") - 1]
    return (since_s < STROKE_S).astype(np.int64)
