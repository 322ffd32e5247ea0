"""Which files each set of a demo corpus has, and what is in them.

Conventions:
    A planner is a function of sizes and the set's seed, and costs nothing. Paths are relative to the corpus.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ray_musicssl.demo.band import Arrangement
from ray_musicssl.demo.compose import GENERATOR_VERSION
from ray_musicssl.demo.file_job import FileJob, Take, Tone
from ray_musicssl.demo.instruments import split_instruments
from ray_musicssl.demo.jamendo_layout import track_path
from ray_musicssl.demo.magnatagatune_layout import clip_path
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.phrases import CONTEXTS
from ray_musicssl.demo.presets import DemoPreset
from ray_musicssl.demo.theory import ALL_KEYS
from ray_musicssl.demo.vocalset_layout import by_split, recording_path
from ray_musicssl.demo.voices import TECHNIQUES, VOCALSET_SINGERS, VOWELS

Planner = Callable[[DemoPreset, int], Iterator[FileJob]]
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
# One song of the pool in eleven is played or sung by one alone. Eleven and the seven of the turn share no factor with
# the numbers of styles and formats, so that solos come in all of either.
_SOLO_EVERY = 11
_SOLO_TURN: tuple[Arrangement, ...] = ("solo", "voice", "solo", "voice", "solo", "voice", "solo")
# Who is there in the songs to be tagged, in turn: voices and single instruments are words of their own.
_TAGGED_ARRANGEMENTS: tuple[Arrangement, ...] = ("band", "sung", "solo", "played", "sung", "band", "voice")
_LONG_EVERY = 12


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
            arrangement=_pool_arrangement(index),
            container=container,
            sample_rate=sample_rate,
            channels=channels,
            duration_s=sizes.pool_song_s,
        )


def _pool_arrangement(index: int) -> Arrangement:
    number, place = divmod(index, _SOLO_EVERY)
    if place != _SOLO_EVERY // 2 - 1:
        return "band"
    return _SOLO_TURN[number % len(_SOLO_TURN)]


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


def _plan_magnatagatune(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    index = 0
    for split, size in sizes.magnatagatune_clips.by_split():
        for number in range(size):
            yield FileJob(
                path=f"datasets/magnatagatune/{clip_path(split, number)}",
                set_name="magnatagatune",
                split=split,
                seed=seed,
                index=index,
                style=_style_in_turn(number),
                arrangement=_arrangement_in_turn(number),
                container="mp3",
                sample_rate=16_000,
                duration_s=sizes.magnatagatune_clip_s,
            )
            index += 1


def _plan_vocalset(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    # Singers of a split are neighbours, so that even with a few recordings a singer a split has every technique.
    singers = sorted(VOCALSET_SINGERS, key=by_split)
    for index in range(len(singers) * sizes.vocalset_per_singer):
        place, number = divmod(index, sizes.vocalset_per_singer)
        round_number = index // len(TECHNIQUES)
        take = Take(
            singer=singers[place],
            context=CONTEXTS[(index + round_number) % len(CONTEXTS)],
            technique=TECHNIQUES[index % len(TECHNIQUES)],
            vowel=VOWELS[(index + round_number) % len(VOWELS)],
        )
        yield FileJob(
            path=f"datasets/vocalset/{recording_path(take, number)}",
            set_name="vocalset",
            split="all",
            seed=seed,
            index=index,
            take=take,
            container="wav",
            sample_rate=44_100,
            duration_s=sizes.vocalset_recording_s,
        )


def _plan_jamendo(sizes: DemoPreset, seed: int) -> Iterator[FileJob]:
    index = 0
    for split, size in sizes.jamendo_tracks.by_split():
        for number in range(size):
            is_long = sizes.jamendo_long_s > 0 and number % _LONG_EVERY == 0
            yield FileJob(
                path=f"datasets/mtg_jamendo/{track_path(index)}",
                set_name="mtg_jamendo",
                split=split,
                seed=seed,
                index=index,
                style=_style_in_turn(number),
                arrangement=_arrangement_in_turn(number),
                container="mp3",
                sample_rate=16_000,
                duration_s=sizes.jamendo_long_s if is_long else sizes.jamendo_track_s,
            )
            index += 1


def _style_in_turn(number: int) -> str:
    return list(STYLES)[number % len(STYLES)]


def _arrangement_in_turn(number: int) -> Arrangement:
    return _TAGGED_ARRANGEMENTS[number % len(_TAGGED_ARRANGEMENTS)]


# The position of a set in a corpus fixes its seed: new sets go to the end.
PLANNERS: Mapping[str, Planner] = {
    "pool": _plan_pool,
    "gtzan": _plan_gtzan,
    "giantsteps": _plan_giantsteps,
    "nsynth": _plan_nsynth,
    "emomusic": _plan_emomusic,
    "magnatagatune": _plan_magnatagatune,
    "vocalset": _plan_vocalset,
    "mtg_jamendo": _plan_jamendo,
}
