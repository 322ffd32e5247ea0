"""Annotation files, read back by hand as the official releases are written."""

import csv
import hashlib
import json

import pytest

from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.instruments import FAMILIES
from ray_musicssl.demo.layouts import write_annotations
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.theory import SHARPS

CORPUS = plan("tiny", 4)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    write_annotations(CORPUS, out)
    return out / "datasets"


def test_gtzan_lists_name_every_song_once(datasets):
    lines = {s: (datasets / f"gtzan/{s}_filtered.txt").read_text().splitlines() for s in ("train", "valid", "test")}
    listed = sorted(line for found in lines.values() for line in found)
    assert listed == sorted(job.path.removeprefix("datasets/gtzan/genres/") for job in CORPUS.jobs_of("gtzan"))
    assert {line.split("/")[0] for line in lines["test"]} == set(STYLES)


def test_beat_files_hold_time_and_position(datasets):
    for job in CORPUS.jobs_of("gtzan"):
        genre, number = job.path.split("/")[-1].split(".")[:2]
        text = (datasets / f"gtzan/gtzan_tempo_beat-main/beats/gtzan_{genre}_{number}.beats").read_text()
        rows = [line.split("\t") for line in text.splitlines()]
        beats = job.score().beats
        assert [int(position) for _, position in rows] == [beat.position for beat in beats]
        assert [float(time_s) for time_s, _ in rows] == pytest.approx([beat.time_s for beat in beats], abs=5.01e-4)
        bpm = float((datasets / f"gtzan/gtzan_tempo_beat-main/tempo/gtzan_{genre}_{number}.bpm").read_text())
        assert bpm == pytest.approx(job.score().tempo_bpm)


def test_test_keys_are_one_line_with_flats_and_no_newline(datasets):
    for job in CORPUS.jobs_of("giantsteps", "test"):
        track = job.path.split("/")[-1].removesuffix(".mp3")
        data = (datasets / f"giantsteps/giantsteps-key-dataset/annotations/key/{track}.key").read_bytes()
        assert data.decode() == job.key
        assert track.endswith(".LOFI")


def read_table(path, newline):
    lines = path.read_bytes().decode().split(newline)
    assert lines.pop() == ""
    header, *rows = [line.split("\t") for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


def official_split(artists):
    table = ["train"] * 100 + ["valid"] * 16
    digests = [hashlib.sha1(name.strip().lower().encode()).hexdigest() for name in artists.split(",")]  # noqa: S324
    return {table[int(digest, 16) % 116] for digest in digests}


@pytest.mark.parametrize("preset", ["tiny", "demo", "small"])
def test_the_official_rule_by_artist_gives_the_planned_split(tmp_path, preset):
    corpus = plan(preset, 0, ["giantsteps"])
    write_annotations(corpus, tmp_path)
    folder = tmp_path / "datasets/giantsteps/giantsteps-mtg-key-dataset/annotations"
    artists = {row["ID"]: row["ARTIST"] for row in read_table(folder / "beatport_metadata.txt", "\n")}
    for split in ("train", "valid"):
        for job in corpus.jobs_of("giantsteps", split):
            assert official_split(artists[job.path.split("/")[-1].split(".")[0]]) == {split}
    assert any("," in artist for artist in artists.values())


def test_training_keys_mix_sharps_and_flats_and_have_doubtful_rows(datasets):
    rows = read_table(datasets / "giantsteps/giantsteps-mtg-key-dataset/annotations/annotations.txt", "\r\n")
    planned = {
        job.path.split("/")[-1].split(".")[0]: job.key
        for split in ("train", "valid")
        for job in CORPUS.jobs_of("giantsteps", split)
    }
    flats = {sharp: flat for flat, sharp in SHARPS.items()}
    clear = {}
    for row in rows:
        if row["C"] == "2" and "/" not in row["MANUAL KEY"] and row["MANUAL KEY"] != "-":
            tonic, mode = row["MANUAL KEY"].split()
            clear[row["ID"]] = f"{flats.get(tonic, tonic)} {mode}"
    assert clear == planned
    assert len(rows) == len(planned) + 3


def test_sharps_are_used_somewhere(tmp_path):
    write_annotations(plan("demo", 0, ["giantsteps"]), tmp_path)
    text = (tmp_path / "datasets/giantsteps/giantsteps-mtg-key-dataset/annotations/annotations.txt").read_text()
    assert "\tD# minor\t" in text
    assert "\tEb minor\t" in text


def test_nsynth_rows_agree_with_their_names(datasets):
    for split in ("train", "valid", "test"):
        rows = json.loads((datasets / f"nsynth/nsynth-{split}/examples.json").read_text())
        planned = {job.path.split("/")[-1].removesuffix(".wav") for job in CORPUS.jobs_of("nsynth", split)}
        assert set(rows) == planned
        for name, row in rows.items():
            instrument, pitch, velocity = name.rsplit("-", 2)
            family, source, _ = instrument.rsplit("_", 2)
            assert row["note_str"] == name
            assert row["instrument_str"] == instrument
            assert (row["pitch"], row["velocity"]) == (int(pitch), int(velocity))
            assert row["instrument_family"] == FAMILIES.index(family)
            assert row["instrument_source_str"] == source
            assert len(row["qualities"]) == 10


def test_rated_clips_lie_where_the_artists_rule_puts_them(datasets):
    folder = datasets / "emomusic" / "annotations"
    with (folder / "songs_info.csv").open() as file:
        songs = list(csv.DictReader(file))
    assert [row["file_name"] for row in songs] == [job.path.split("/")[-1] for job in CORPUS.jobs_of("emomusic")]
    table = ["train"] * 8 + ["valid"] * 2
    for row, job in zip(songs, CORPUS.jobs_of("emomusic"), strict=True):
        digest = hashlib.sha1(row["Artist"].lower().encode()).hexdigest()  # noqa: S324
        split = "test" if row["Mediaeval 2013 set"] == "evaluation" else table[int(digest, 16) % 10]
        assert split == job.split
    with (folder / "static_annotations.csv").open() as file:
        ratings = {row["song_id"]: row for row in csv.DictReader(file)}
    assert set(ratings) == {row["song_id"] for row in songs}
    assert all(1 <= float(row[f"mean_{number}"]) <= 9 for row in ratings.values() for number in ("arousal", "valence"))


def annotation_bytes(preset, seed, out):
    write_annotations(plan(preset, seed), out)
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_annotations_are_a_function_of_the_seed(tmp_path):
    first, again, other = (annotation_bytes("tiny", seed, tmp_path / str(k)) for k, seed in enumerate((4, 4, 5)))
    assert first == again
    told = {name for name, data in first.items() if other.get(name) != data}
    for part in ("magnatagatune/annotations_final.csv", "mtg_jamendo", "emomusic", "gtzan", "nsynth"):
        assert any(f"datasets/{part}" in name for name in told)
