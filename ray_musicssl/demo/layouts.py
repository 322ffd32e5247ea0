"""The annotation files of the data sets in miniature, where and as the official releases have them.

Conventions:
    All text is UTF-8 with LF; `annotations.txt` of the MTG keys and the split lists of MTG-Jamendo alone have CRLF.
    Every file is a function of the plan.
"""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from ray_musicssl.demo.artists import artists_of
from ray_musicssl.demo.corpus import DemoPlan
from ray_musicssl.demo.emotion import emotion_of
from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.instruments import FAMILIES, ORCHESTRA, SOURCES
from ray_musicssl.demo.jamendo_layout import write_jamendo
from ray_musicssl.demo.magnatagatune_layout import write_magnatagatune
from ray_musicssl.demo.theory import key_named
from ray_musicssl.demo.vocalset_layout import write_vocalset
from ray_musicssl.run_dir import write_json, write_text

_TRACKS_PER_ARTIST = 3
_BEATPORT_HEADER = ("ID", "ARTIST", "SONG TITLE", "MIX", "LABEL", "BP GENRE", "BP BPM", "BP KEY")
# Rows that a reader must leave out (several keys, none, or a low confidence); they have no audio.
_DOUBTFUL_ROWS = (("C major / A minor", 2), ("-", 0), ("G minor", 1))

_SONG_COLUMNS = (
    "song_id",
    "file_name",
    "Artist",
    "Song title",
    "start of the segment (min.sec)",
    "end of the segment (min.sec)",
    "Genre",
    "Mediaeval 2013 set",
)
_RATING_COLUMNS = ("song_id", "mean_arousal", "std_arousal", "mean_valence", "std_valence")


def write_annotations(plan: DemoPlan, out_dir: Path) -> None:
    """Write the annotations of every data set in the plan under `out_dir/datasets`."""
    for set_name in plan.sets:
        if set_name in _WRITERS:
            _WRITERS[set_name](plan, out_dir / "datasets" / set_name)


def _write_gtzan(plan: DemoPlan, folder: Path) -> None:
    for split in ("train", "valid", "test"):
        lines = sorted("/".join(PurePosixPath(job.path).parts[-2:]) for job in plan.jobs_of("gtzan", split))
        write_text(folder / f"{split}_filtered.txt", "".join(f"{line}\n" for line in lines))
    for job in plan.jobs_of("gtzan"):
        score = job.score()
        name = "gtzan_" + PurePosixPath(job.path).stem.replace(".", "_")
        beats = "".join(f"{beat.time_s:.3f}\t{beat.position}\n" for beat in score.beats)
        write_text(folder / "gtzan_tempo_beat-main" / "beats" / f"{name}.beats", beats)
        write_text(folder / "gtzan_tempo_beat-main" / "tempo" / f"{name}.bpm", f"{score.tempo_bpm:.18e}\n")


def _track_id(job: FileJob) -> str:
    return PurePosixPath(job.path).name.split(".")[0]


def _write_giantsteps(plan: DemoPlan, folder: Path) -> None:
    for job in plan.jobs_of("giantsteps", "test"):
        # The release has no newline here.
        write_text(folder / "giantsteps-key-dataset" / "annotations" / "key" / f"{_track_id(job)}.LOFI.key", job.key)
    annotations = [("ID", "MANUAL KEY", "C")]
    beatport: list[tuple[str, ...]] = [_BEATPORT_HEADER]
    for split in ("train", "valid"):
        for number, job in enumerate(plan.jobs_of("giantsteps", split)):
            key = key_named(job.key)
            # The release writes some black keys as sharps and some as flats.
            annotations.append((_track_id(job), key.sharp_name if number % 5 < 3 else key.name, "2"))
            beatport.append(_beatport_row(job, _artist_of(split, number)))
    for number, (key_text, confidence) in enumerate(_DOUBTFUL_ROWS):
        annotations.append((f"{9_000_001 + number}", key_text, str(confidence)))
        beatport.append((f"{9_000_001 + number}", artists_of("train")[0], "Doubt", "", "", "", "120", ""))
    texts = folder / "giantsteps-mtg-key-dataset" / "annotations"
    write_text(texts / "annotations.txt", "".join("\t".join(row) + "\r\n" for row in annotations))
    write_text(texts / "beatport_metadata.txt", "".join("\t".join(row) + "\n" for row in beatport))


def _artist_of(split: str, number: int) -> str:
    """The artist column of a track: one name, or now and then two of the same split."""
    names = artists_of(split)
    first = number // _TRACKS_PER_ARTIST
    artist = names[first % len(names)]
    return f"{artist}, {names[(first + 1) % len(names)]}" if number % 7 == 0 else artist


def _beatport_row(job: FileJob, artist: str) -> tuple[str, ...]:
    tempo = f"{job.score().tempo_bpm:.0f}"
    # The shop's own key is often wrong in the release; readers must not use it.
    return (_track_id(job), artist, f"Track {job.index}", "Original Mix", "Demo Records", job.style, tempo, "C major")


def _write_nsynth(plan: DemoPlan, folder: Path) -> None:
    for split in ("train", "valid", "test"):
        rows = {row["note_str"]: row for row in map(_nsynth_row, plan.jobs_of("nsynth", split))}
        write_json(folder / f"nsynth-{split}" / "examples.json", rows)


def _nsynth_row(job: FileJob) -> dict[str, object]:
    assert job.tone is not None
    instrument = job.tone.instrument
    return {
        "note": job.index,
        "note_str": job.tone.name,
        "instrument": ORCHESTRA.index(instrument),
        "instrument_str": instrument.name,
        "pitch": job.tone.pitch,
        "velocity": job.tone.velocity,
        "sample_rate": job.sample_rate,
        "qualities": [0] * 10,
        "qualities_str": [],
        "instrument_family": FAMILIES.index(instrument.family),
        "instrument_family_str": instrument.family,
        "instrument_source": SOURCES.index(instrument.source),
        "instrument_source_str": instrument.source,
    }


def _write_emomusic(plan: DemoPlan, folder: Path) -> None:
    songs: list[tuple[object, ...]] = [_SONG_COLUMNS]
    ratings: list[tuple[object, ...]] = [_RATING_COLUMNS]
    for split in ("train", "valid", "test"):
        part = "evaluation" if split == "test" else "development"
        artists = artists_of("train" if split == "test" else split, "emomusic")
        for number, job in enumerate(plan.jobs_of("emomusic", split)):
            path = PurePosixPath(job.path)
            artist = artists[number // _TRACKS_PER_ARTIST % len(artists)]
            songs.append((path.stem, path.name, artist, f"Clip {job.index}", "0.00", "0.45", job.style.title(), part))
            emotion = emotion_of(job.score(), seed=1000 * job.seed + job.index)
            ratings.append((path.stem, f"{emotion.arousal:.2f}", "1.00", f"{emotion.valence:.2f}", "1.00"))
    write_text(folder / "annotations" / "songs_info.csv", _csv(songs))
    write_text(folder / "annotations" / "static_annotations.csv", _csv(ratings))


def _csv(rows: Sequence[Sequence[object]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


_WRITERS: dict[str, Callable[[DemoPlan, Path], None]] = {
    "gtzan": _write_gtzan,
    "giantsteps": _write_giantsteps,
    "nsynth": _write_nsynth,
    "emomusic": _write_emomusic,
    "magnatagatune": lambda plan, folder: write_magnatagatune(plan.jobs_of("magnatagatune"), folder),
    "vocalset": lambda _, folder: write_vocalset(folder),
    "mtg_jamendo": lambda plan, folder: write_jamendo(plan.jobs_of("mtg_jamendo"), folder),
}
