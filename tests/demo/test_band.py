"""Who is there in each arrangement."""

import pytest

from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.voices import SONG_SINGERS, VOCALSET_SINGERS, VOWELS


def sung_notes(score):
    return [note for note in score.notes if note.sung]


@pytest.mark.parametrize("style", STYLES)
def test_each_arrangement_has_those_that_its_name_promises(style):
    scores = {a: compose(6, 4, style, 12.0, arrangement=a) for a in ("sung", "played", "solo", "voice")}
    assert 0 < len(sung_notes(scores["sung"])) < len(scores["sung"].notes)
    assert not [note for note in scores["played"].notes if note.instrument.family == "vocal"]
    assert len({note.instrument for note in scores["played"].notes}) > 1
    assert len({note.instrument for note in scores["solo"].notes}) == 1
    assert not sung_notes(scores["solo"])
    assert sung_notes(scores["voice"]) == list(scores["voice"].notes) != []
    for name in ("solo", "voice"):
        assert (scores[name].strokes, scores[name].chords) == ((), ())


def test_a_singer_stays_the_same_through_a_song_and_changes_vowels():
    notes = sung_notes(compose(6, 4, "pop", 20.0, arrangement="sung"))
    assert len({(note.sung.singer, note.sung.technique, note.sung.strength) for note in notes}) == 1
    assert {note.sung.vowel for note in notes} == set(VOWELS)


def test_a_third_of_the_pool_is_sung_and_an_eleventh_is_alone():
    scores = [job.score() for job in plan("demo", 0, ["pool"]).jobs]
    assert 0.25 < sum(bool(sung_notes(score)) for score in scores) / len(scores) < 0.5
    assert sum(not score.chords for score in scores) == 11
    heard = {note.sung.singer for score in scores for note in sung_notes(score)}
    assert len(heard) > 10
    assert not heard & set(VOCALSET_SINGERS)
    assert heard <= set(SONG_SINGERS)


@pytest.mark.parametrize("arrangement", ["solo", "voice"])
def test_who_is_alone_is_heard_in_every_style_and_format(arrangement):
    jobs = [job for job in plan("full", 0, ["pool"]).jobs if job.arrangement == arrangement]
    assert {job.style for job in jobs} == set(STYLES)
    formats = {(job.container, job.sample_rate, job.channels) for job in plan("full", 0, ["pool"]).jobs}
    assert {(job.container, job.sample_rate, job.channels) for job in jobs} == formats


@pytest.mark.parametrize("arrangement", ["solo", "voice"])
def test_who_is_alone_begins_at_once(arrangement):
    for index, style in enumerate(STYLES):
        score = compose(7, index, style, 1.2, arrangement=arrangement)
        assert min(note.start_s for note in score.notes) < 0.05
