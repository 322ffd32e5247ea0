"""What the singers of VocalSet sing."""

from itertools import pairwise

import numpy as np
import pytest

from ray_musicssl.demo.corpus import plan, render
from ray_musicssl.demo.phrases import CONTEXTS, draw_phrase, notes_of
from ray_musicssl.demo.theory import MAJOR_SCALE
from ray_musicssl.demo.voices import singer


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("number", [0, 19])
def test_a_phrase_fills_its_recording_inside_the_singers_range(context, number):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        phrase = draw_phrase(rng, number=number, context=context, vowel="e", duration_s=3.3)
        notes = notes_of(phrase, number=number, technique="belt")
        assert notes[0].start_s == 0
        assert notes[-1].start_s + notes[-1].duration_s == pytest.approx(3.3)
        assert all(a.start_s + a.duration_s == pytest.approx(b.start_s) for a, b in pairwise(notes))
        assert all(singer(number).lowest <= note.pitch <= singer(number).lowest + 16 for note in notes)
        assert {note.sung.technique for note in notes} == {"belt"}
        steps = {(note.pitch - notes[0].pitch) % 12 for note in notes}
        if context == "arpeggios":
            assert steps <= {0, 4, 7}
        if context == "scales":
            assert steps <= set(MAJOR_SCALE)
        if context != "excerpts":
            assert {note.sung.vowel for note in notes} == {"e"}


def test_recordings_begin_without_silence_and_have_their_length():
    for job in plan("tiny", 0, ["vocalset"]).jobs[:6]:
        wave = render(job)
        assert wave.shape == (round(job.duration_s * 44_100),)
        assert np.abs(wave[:4410]).max() > 0.05
        assert 0.4 < np.abs(wave).max() <= 1
