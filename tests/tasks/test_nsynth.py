"""The NSynth reader on hand-made folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import Example, Predictions
from ray_musicssl.tasks.nsynth import FAMILIES, NsynthInstrument, NsynthPitch

NOTES = {
    "train": ["bass_synthetic_033-022-050", "synth_lead_synthetic_001-060-127"],
    "valid": ["flute_acoustic_002-061-100"],
    "test": ["vocal_electronic_000-127-025", "guitar_acoustic_014-040-075"],
}


@pytest.fixture
def nsynth_dir(tmp_path, write_audio):
    root = tmp_path / "nsynth"
    for split, notes in NOTES.items():
        for note in notes:
            write_audio(root / f"nsynth-{split}" / "audio" / f"{note}.wav")
        index = {note: {"note_str": note, "pitch": int(note.split("-")[1]), "qualities": [0] * 10} for note in notes}
        (root / f"nsynth-{split}" / "examples.json").write_text(json.dumps(index))
    return root


def test_pitch_is_the_class(nsynth_dir):
    data = NsynthPitch().read(nsynth_dir)
    assert [(e.id, e.split, e.target) for e in data.examples] == [
        ("bass_synthetic_033-022-050", "train", 22),
        ("flute_acoustic_002-061-100", "valid", 61),
        ("guitar_acoustic_014-040-075", "test", 40),
        ("synth_lead_synthetic_001-060-127", "train", 60),
        ("vocal_electronic_000-127-025", "test", 127),
    ]
    assert data.used() == data.expected == {"train": 2, "valid": 1, "test": 2}
    assert len(data.classes) == 128


def test_without_an_index_the_names_give_the_same_data(nsynth_dir):
    before = NsynthPitch().read(nsynth_dir.parent)
    for path in nsynth_dir.glob("*/examples.json"):
        path.unlink()
    assert NsynthPitch().read(nsynth_dir) == before


def test_the_index_may_begin_with_a_byte_order_mark(nsynth_dir):
    before = NsynthPitch().read(nsynth_dir)
    path = nsynth_dir / "nsynth-test/examples.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert NsynthPitch().read(nsynth_dir) == before


def test_absent_broken_and_unlabelled_notes_have_their_reasons(nsynth_dir, write_audio):
    (nsynth_dir / "nsynth-train/audio/bass_synthetic_033-022-050.wav").unlink()
    (nsynth_dir / "nsynth-test/audio/vocal_electronic_000-127-025.wav").write_bytes(b"RIFFnonsense")
    for path in nsynth_dir.glob("*/examples.json"):
        index = json.loads(path.read_text())
        index["odd"] = {"note_str": "odd", "pitch": 128}
        path.write_text(json.dumps(index))
    data = NsynthPitch().read(nsynth_dir)
    assert data.reasons() == {"missing": 1, "bad_row": 3, "undecodable": 1}
    assert data.expected == {"train": 3, "valid": 2, "test": 3}


def test_annotations_need_no_audio(nsynth_dir):
    shutil.rmtree(nsynth_dir / "nsynth-train" / "audio")
    assert NsynthPitch().read(nsynth_dir, annotations_only=True).used() == {"train": 2, "valid": 1, "test": 2}
    with pytest.raises(DataError, match=r"no usable item in train .2 missing"):
        NsynthPitch().read(nsynth_dir)


def test_a_missing_folder_and_a_damaged_index_are_named(nsynth_dir):
    (nsynth_dir / "nsynth-valid/examples.json").write_text("{")
    with pytest.raises(DataError, match="not NSynth's index"):
        NsynthPitch().read(nsynth_dir)
    shutil.rmtree(nsynth_dir / "nsynth-valid")
    with pytest.raises(DataError, match="expected nsynth-valid there"):
        NsynthPitch().read(nsynth_dir)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "no object of notes"),
        ({"note_str": "a", "pitch": 3}, "no object of notes"),
        ({"a": {"pitch": 60}}, "'a' is no object with a note_str"),
        ({"a": 60}, "'a' is no object with a note_str"),
        ({"a": [{"note_str": "a", "pitch": 60}]}, "'a' is no object with a note_str"),
        ({"a": {"note_str": "a"}}, "KeyError"),
    ],
)
def test_an_index_of_another_shape_is_named(nsynth_dir, index, message):
    (nsynth_dir / "nsynth-valid/examples.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=rf"nsynth-valid/examples\.json is not NSynth's index \(.*{message}"):
        NsynthPitch().read(nsynth_dir)


def test_an_entry_whose_note_str_is_no_text_is_labelled_by_what_else_it_says(nsynth_dir):
    note = NOTES["valid"][0]
    entry = {"note_str": 5, "pitch": 61}
    (nsynth_dir / "nsynth-valid/examples.json").write_text(json.dumps({note: entry}))
    assert [example.target for example in NsynthPitch().read(nsynth_dir).split("valid")] == [61]


def test_score_is_the_fraction_of_exact_pitches():
    examples = [Example(id=str(i), track=str(i), path=Path("x"), split="test", target=60 + i) for i in range(2)]
    outputs = [np.eye(128, dtype=np.float32)[60], np.eye(128, dtype=np.float32)[60]]
    assert NsynthPitch().score(Predictions(examples=examples, outputs=outputs)) == {"accuracy": 0.5}


def test_instrument_is_the_family_in_the_official_order(nsynth_dir):
    data = NsynthInstrument().read(nsynth_dir)
    assert [(e.id.split("-")[0], data.classes[e.target]) for e in data.examples] == [
        ("bass_synthetic_033", "bass"),
        ("flute_acoustic_002", "flute"),
        ("guitar_acoustic_014", "guitar"),
        ("synth_lead_synthetic_001", "synth_lead"),
        ("vocal_electronic_000", "vocal"),
    ]
    assert [FAMILIES.index(name) for name in ("bass", "keyboard", "synth_lead", "vocal")] == [0, 4, 9, 10]


def test_the_index_says_what_family_a_note_is_of(nsynth_dir):
    path = nsynth_dir / "nsynth-test/examples.json"
    index = json.loads(path.read_text())
    index["vocal_electronic_000-127-025"]["instrument_family"] = 7
    index["guitar_acoustic_014-040-075"]["instrument_family"] = 11
    path.write_text(json.dumps(index))
    data = NsynthInstrument().read(nsynth_dir)
    assert [e.target for e in data.split("test")] == [7]
    assert [(item.id, item.reason) for item in data.skipped] == [("guitar_acoustic_014-040-075", "bad_row")]


@pytest.mark.parametrize("task", [NsynthPitch, NsynthInstrument])
def test_an_instrument_of_train_may_be_in_no_other_split_but_valid_and_test_share_theirs(task, nsynth_dir, write_audio):
    for path in nsynth_dir.glob("*/examples.json"):
        path.unlink()
    write_audio(nsynth_dir / "nsynth-test/audio/flute_acoustic_002-062-100.wav")
    assert task().read(nsynth_dir).used()["test"] == 3
    write_audio(nsynth_dir / "nsynth-test/audio/bass_synthetic_033-023-050.wav")
    with pytest.raises(DataError, match='instrument "bass_synthetic_033" is in train and in test'):
        task().read(nsynth_dir)
