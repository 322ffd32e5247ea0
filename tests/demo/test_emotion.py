"""The ratings of a piece against what raises them."""

from dataclasses import replace

import numpy as np
import pytest

from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.emotion import emotion_of
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.theory import Key

SCORE = compose(1, 2, "pop", 8.0, Key(0, "major"))


@pytest.mark.parametrize(
    ("change", "number", "sign"),
    [
        ({"tempo_bpm": 2 * SCORE.tempo_bpm}, "arousal", 1),
        ({"strokes": ()}, "arousal", -1),
        ({"drive": SCORE.drive + 1}, "arousal", 1),
        ({"key": Key(0, "minor")}, "valence", -1),
        ({"drive": SCORE.drive + 1}, "valence", -1),
        ({"notes": tuple(replace(note, pitch=note.pitch + 12) for note in SCORE.notes)}, "valence", 1),
    ],
)
def test_each_trait_moves_its_rating(change, number, sign):
    before, after = emotion_of(SCORE, seed=0), emotion_of(replace(SCORE, **change), seed=0)
    assert sign * (getattr(after, number) - getattr(before, number)) > 0.2


def test_ratings_depend_on_score_and_seed_alone():
    assert emotion_of(SCORE, seed=3) == emotion_of(SCORE, seed=3)
    assert emotion_of(SCORE, seed=3) != emotion_of(SCORE, seed=4)


def test_ratings_spread_over_the_scale_as_listeners_do():
    ratings = [emotion_of(compose(5, i, style, 5.0), seed=i) for i in range(8) for style in STYLES]
    both = np.array([[rating.arousal, rating.valence] for rating in ratings])
    assert both.min() >= 1
    assert both.max() <= 9
    np.testing.assert_array_less(np.abs(both.mean(axis=0) - 5), 0.7)
    assert both.std(axis=0) == pytest.approx([1.3, 1.4], abs=0.4)
