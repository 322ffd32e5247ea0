"""Scores: the truth of the demo corpus."""

import numpy as np
import pytest

from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.parts import onsets
from ray_musicssl.demo.theory import ALL_KEYS, Key, chord_of, key_named

# Label hashes of three six-second songs, recorded from GENERATOR_VERSION 3; raise the version if they must change.
GOLDEN = ["fd16b813994cc250", "14e8009e75b789c8", "2ed324c167bd0977"]


@pytest.fixture(scope="module")
def scores():
    return [compose(5, index, style, 12.0) for index, style in enumerate([*STYLES, *STYLES])]


def test_label_hash_of_a_seed_never_changes():
    hashes = [compose(0, index, style, 6.0).label_hash for index, style in enumerate(("blues", "classical", "metal"))]
    assert hashes == GOLDEN


def test_another_index_and_another_seed_give_other_scores():
    hashes = {compose(seed, index, "pop", 6.0).label_hash for seed in (0, 1) for index in (0, 1)}
    assert len(hashes) == 4


def test_beats_lie_inside_the_audio_and_rise(scores):
    for score in scores:
        times_s = np.array([beat.time_s for beat in score.beats])
        assert times_s[0] >= 0
        assert times_s[-1] < score.duration_s
        assert (np.diff(times_s) > 0).all()


def test_beats_are_as_far_apart_as_the_tempo_says(scores):
    for score in scores:
        steps_s = np.diff([beat.time_s for beat in score.beats])
        assert np.abs(steps_s - 60 / score.tempo_bpm).max() < 0.02


def test_positions_count_the_beats_of_a_bar(scores):
    for score in scores:
        for beat, following in zip(score.beats, score.beats[1:], strict=False):
            assert following.position == beat.position % score.beats_per_bar + 1


@pytest.mark.parametrize("style", STYLES)
def test_nine_notes_in_ten_belong_to_the_key(style):
    for index in range(6):
        score = compose(9, index, style, 15.0)
        inside = [note.pitch % 12 in score.key.pitch_classes for note in score.notes]
        assert np.mean(inside) >= 0.9


def test_notes_do_not_belong_to_a_key_a_tritone_away():
    # The twin of the test above: it fails for a wrong key.
    score = compose(9, 0, "pop", 15.0)
    wrong = Key((score.key.tonic + 6) % 12, score.key.mode)
    assert np.mean([note.pitch % 12 in wrong.pitch_classes for note in score.notes]) < 0.6


def test_everything_played_lies_inside_the_audio(scores):
    for score in scores:
        assert all(note.start_s >= 0 for note in score.notes)
        assert all(note.start_s + note.duration_s <= score.duration_s + 1e-9 for note in score.notes)
        assert all(0 <= stroke.start_s < score.duration_s for stroke in score.strokes)
        assert all(1 <= note.velocity <= 127 and 20 <= note.pitch <= 110 for note in score.notes)


@pytest.mark.parametrize("key", [ALL_KEYS[1], ALL_KEYS[20]])
def test_a_given_key_is_kept(key):
    assert compose(0, 3, "reggae", 5.0, key).key == key


def test_the_pool_has_all_keys():
    keys = {compose(0, index, "rock", 1.0).key for index in range(240)}
    assert keys == set(ALL_KEYS)


def test_key_names_are_read_back():
    assert [key_named(key.name) for key in ALL_KEYS] == list(ALL_KEYS)


def test_numerals_in_minor_count_on_the_minor_scale():
    assert chord_of("VI", key_named("A minor")).pitch_classes == (5, 9, 0)  # F major
    assert chord_of("V7", key_named("A minor")).pitch_classes == (4, 8, 11, 2)  # E G# B D
    assert chord_of("iio", key_named("C minor")).pitch_classes == (2, 5, 8)  # D F Ab


def test_patterns_are_read_as_onsets_with_lengths():
    assert [(o.step, o.num_steps, o.letter) for o in onsets("x--.r-ox--------", 12)] == [
        (0, 3, "x"),
        (4, 2, "r"),
        (6, 1, "o"),
        (7, 5, "x"),
    ]


def test_every_pattern_has_sixteen_steps_of_known_letters():
    for style in STYLES.values():
        drums = [pattern for kit in style.drums for pattern in kit.values()]
        for pattern in (*style.comp, *style.bass, *style.melody, *drums):
            assert len(pattern) == 16, (style.name, pattern)
        assert set("".join(style.bass)) <= set("rtfso-.")
        assert set("".join((*style.comp, *style.melody))) <= set("x-.")
        assert set("".join(drums)) <= set("xo.")
