"""The truth at a moment, held against a slow reading of the score and against the sound itself."""

import numpy as np
import pytest

from ray_musicssl.demo import synth
from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.instruments import FAMILIES, Instrument
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.score import ChordSpan, Note, Score, Stroke
from ray_musicssl.demo.theory import ALL_KEYS, Chord, chords_of, key_named
from ray_musicssl.demo.timbre import timbre_of
from ray_musicssl.demo.truth import ABOUT, KINDS, LOWEST_PITCH, chord_class, open_pool, truth_at
from ray_musicssl.run_dir import mark_done

MODES = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6)}


def level(note, time_s):
    timbre = timbre_of(note.instrument)
    if note.sung:
        return note.gain * note.velocity / 127
    fading = np.exp(-timbre.decay_per_s * (time_s - note.start_s))
    return note.gain * note.velocity / 127 * (timbre.sustain + (1 - timbre.sustain) * fading)


def test_a_voice_that_leaves_the_written_pitch_has_no_note():
    found = {}
    for index in range(60):
        score = compose(3, index, "pop", 3.0, arrangement="voice")
        truth = truth_at(score, np.arange(0, 3.0, 0.05))
        found.setdefault(score.notes[0].sung.technique, set()).update(truth["note"])
        assert (truth["pitch_class"] < 0).tolist() == (truth["note"] < 0).tolist() == (truth["bass"] < 0).tolist()
        assert (truth["instrument"] >= 0).any()
    assert len(found) == 10
    assert {technique for technique, notes in found.items() if notes == {-1}} == {"inhaled", "spoken", "vocal_fry"}


def test_a_solo_has_no_chords_and_no_strokes_to_be_labelled():
    score = compose(3, 1, "rock", 8.0, arrangement="voice")
    found = truth_at(score, np.arange(0.5, 8.0, 0.1))
    assert set(found["chord"]) == {-1}
    assert set(found["drums"]) == {0}
    assert set(found["instrument"]) <= {-1, FAMILIES.index("vocal")}
    assert set(found["key"]) == {ALL_KEYS.index(score.key)}


def strays(note):
    """Nothing is heard, or a voice that is not at the written pitch."""
    return note is None or (note.sung is not None and note.sung.technique in {"spoken", "inhaled", "vocal_fry"})


def slow_truth(score, time_s):
    """One moment, read note by note; None where there is no class."""
    held = [note for note in score.notes if note.start_s <= time_s < note.start_s + note.duration_s]
    tones = [note for note in held if note.instrument.family != "bass"] or held
    loudest = max(held, key=lambda note: level(note, time_s), default=None)
    foremost = max(tones, key=lambda note: level(note, time_s), default=None)
    lowest = min(held, key=lambda note: note.pitch, default=None)
    chord = [span.chord for span in score.chords if span.start_s <= time_s][-1]
    root, mode = chord.root, next(name for name, steps in MODES.items() if steps == chord.intervals[:3])
    struck = any(0 <= time_s - stroke.start_s < 0.1 for stroke in score.strokes)
    return {
        "note": None if strays(loudest) else KINDS["note"][loudest.pitch - 21],
        "pitch_class": None if strays(loudest) else KINDS["pitch_class"][loudest.pitch % 12],
        "bass": None if strays(lowest) else KINDS["bass"][lowest.pitch % 12],
        "chord": f"{KINDS['bass'][root]} {mode}",
        "key": score.key.name,
        "instrument": None if foremost is None else foremost.instrument.family,
        "drums": "sounding" if struck else "none",
        "genre": score.style,
    }


@pytest.mark.parametrize("style", ["blues", "classical", "metal", "reggae"])
@pytest.mark.parametrize("arrangement", ["band", "sung"])
def test_truth_is_what_a_slow_reading_of_the_score_says(style, arrangement):
    score = compose(3, 1, style, 8.0, arrangement=arrangement)
    assert any(note.sung for note in score.notes) or arrangement == "band"
    times_s = np.random.default_rng(0).uniform(0.5, 8.0, 150)
    found = truth_at(score, times_s)
    for position, time_s in enumerate(times_s):
        for kind, name in slow_truth(score, time_s).items():
            number = found[kind][position]
            assert (KINDS[kind][number] if number >= 0 else None) == name, (kind, time_s)


def test_the_class_is_what_is_heard():
    flute, drums_s = Instrument("flute", 0), 1.25
    pitches = (60, 67, 76)
    notes = tuple(
        Note(start_s=0.5 * k, duration_s=0.5, pitch=pitch, velocity=100, instrument=flute)
        for k, pitch in enumerate(pitches)
    )
    key = key_named("C major")
    score = Score(
        style="pop",
        key=key,
        tempo_bpm=120,
        beats_per_bar=4,
        duration_s=2.0,
        beats=(),
        chords=tuple(ChordSpan(0.5 * k, chord) for k, chord in enumerate(chords_of("I V vi", key))),
        sections=(),
        notes=notes,
        strokes=(Stroke(start_s=drums_s, piece="kick", velocity=100),),
        kit=0,
        drum_level=0.2,
        drive=0.5,
    )
    rate = 16_000
    wave = synth.render_score(score, rate, np.random.default_rng(0))
    times_s = np.array([0.25, 0.75, 1.24, 1.26, 1.34, 1.36, 1.75])
    found = truth_at(score, times_s)
    for time_s, note in zip(times_s[:6], found["note"][:6], strict=True):
        middle = round(time_s * rate)
        spectrum = np.abs(np.fft.rfft(wave[middle - 800 : middle + 800] * np.hanning(1600), 16_000))
        heard = [spectrum[round(synth.frequency_hz(pitch))] for pitch in pitches]
        assert pitches[int(np.argmax(heard))] == note + LOWEST_PITCH
    assert found["note"][-1] == found["bass"][-1] == found["instrument"][-1] == -1
    assert [KINDS["chord"][number] for number in found["chord"]] == ["C major", "G major", *["A minor"] * 5]
    assert found["drums"].tolist() == [0, 0, 0, 1, 1, 0, 0]


def test_a_seventh_leaves_a_chord_its_class():
    assert chord_class(Chord(7, (0, 4, 7, 10))) == chord_class(Chord(7, (0, 4, 7))) == 7
    assert KINDS["chord"][chord_class(Chord(2, (0, 3, 6)))] == "D diminished"


def test_every_class_of_the_corpus_lies_among_its_names():
    assert list(KINDS) == list(ABOUT)
    for job in plan("demo", 0).jobs_of("pool")[:20]:
        score = job.score()
        found = truth_at(score, np.arange(0, 30, 0.05))
        assert {kind: -1 <= v.min() <= v.max() < len(KINDS[kind]) for kind, v in found.items()} == dict.fromkeys(
            KINDS, True
        )
    assert (KINDS["instrument"], len(KINDS["key"]), len(KINDS["genre"])) == (FAMILIES, len(ALL_KEYS), len(STYLES))


def test_a_pool_knows_its_songs_by_name_and_size(tmp_path):
    corpus = plan("tiny", 4)
    job = corpus.jobs_of("pool")[2]
    assert open_pool(tmp_path) is None
    facts = {"preset": "tiny", "seed": 4, "sets": list(corpus.sets)}
    mark_done(tmp_path, "demo-data", fingerprint=corpus.fingerprint, facts=facts)
    (tmp_path / "pool").mkdir()
    (tmp_path / job.path).write_bytes(b"twelve bytes")
    pool = open_pool(tmp_path)
    assert pool is not None
    assert pool.job_of("song-00002.mp3", 12) == pool.job_of("pool/song-00002.mp3", 12) == job
    assert pool.job_of("song-00002.mp3", 13) is None  # another file of that name
    assert pool.job_of("song-00003.flac", 12) is None  # gone meanwhile
    assert pool.job_of("other.mp3", 12) is None
    for other in ({"preset": "huge"}, {"sets": ["pool", "of a later version"]}):
        mark_done(tmp_path, "demo-data", fingerprint=corpus.fingerprint, facts=facts | other)
        assert open_pool(tmp_path) is None
    mark_done(tmp_path, "demo-data", fingerprint="of another generator", facts=facts)
    assert open_pool(tmp_path) is None
