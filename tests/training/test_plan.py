import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_musicssl.audio.shard import MANIFEST_SCHEMA
from ray_musicssl.config.audio import AudioConfig, CropStage
from ray_musicssl.errors import DataError
from ray_musicssl.training.plan import SamplePlan, StepLayout


def manifest(lengths, clips_per_row_group=4, clips_per_part=12):
    rows = [
        {
            "clip_id": str(i),
            "track_id": "t",
            "offset_s": 0.0,
            "num_samples": n,
            "part": i // clips_per_part,
            "row_group": i % clips_per_part // clips_per_row_group,
            "row": i % clips_per_row_group,
        }
        for i, n in enumerate(lengths)
    ]
    return pa.Table.from_pylist(rows, MANIFEST_SCHEMA)


def make(lengths, seed=0):
    return SamplePlan(manifest(lengths), longest_crop_samples=1000, seed=seed)


@settings(max_examples=40, deadline=None)
@given(num_clips=st.integers(1, 150), seed=st.integers(0, 5), first_epoch=st.integers(0, 3))
def test_every_epoch_uses_every_clip_exactly_once(num_clips, seed, first_epoch):
    plan = make([2000] * num_clips, seed)
    for epoch in (first_epoch, first_epoch + 1):
        clips = plan.entries(epoch * num_clips, (epoch + 1) * num_clips).clip
        assert sorted(clips) == list(range(num_clips))


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 300), length=st.integers(1, 200))
def test_a_stretch_is_the_same_however_it_is_asked_for(start, length):
    whole = make([2000] * 97).entries(0, 520)
    part = make([2000] * 97).entries(start, start + length)
    np.testing.assert_array_equal(part.clip, whole.clip[start : start + length])
    np.testing.assert_array_equal(part.crop_seed, whole.crop_seed[start : start + length])
    np.testing.assert_array_equal(part.epoch, np.arange(start, start + length) // 97)


def test_epochs_and_seeds_have_different_orders():
    plan = make([2000] * 97)
    first, second = (plan.entries(e * 97, (e + 1) * 97).clip.tolist() for e in (0, 1))
    assert first != second
    assert first != make([2000] * 97, seed=1).entries(0, 97).clip.tolist()
    assert first != sorted(first)


def test_clips_shorter_than_the_crop_are_left_out_and_counted():
    plan = make([2000, 999, 1000, 500, 3000])
    assert plan.num_clips == 3
    assert sorted(plan.entries(0, 3).clip) == [0, 2, 4]
    assert plan.left_out_clips == 2
    assert plan.left_out_s == pytest.approx(1499 / 16000)


def test_no_clip_long_enough_is_an_error_that_names_the_longest():
    with pytest.raises(DataError, match=r"crop of 0.0625 s \(the longest has 0.05 s\); lower audio.crop_s"):
        make([800, 500])


def test_neighbours_in_the_stream_come_from_few_row_groups():
    plan = SamplePlan(manifest([2000] * 4800, clips_per_part=4800), longest_crop_samples=1000, seed=0)
    clips = plan.entries(0, 32).clip
    assert len(set(clips // 4)) <= 16  # two windows of eight row groups


def test_opening_far_into_a_long_stream_costs_no_replay():
    plan = make([2000] * 1000)
    far = 10**12
    assert len(plan.entries(far, far + 8).clip) == 8


def layout_of(batch_clips, micro_batch_clips, num_workers):
    audio = AudioConfig(crop_s=1, batch_s=batch_clips, micro_batch_s=micro_batch_clips)
    return StepLayout.of(audio, 2000, num_workers)


@given(
    batch_clips=st.integers(1, 60), micro=st.integers(1, 60), num_workers=st.integers(1, 9), step=st.integers(0, 1000)
)
def test_workers_share_out_a_step_s_positions_and_none_is_lost(batch_clips, micro, num_workers, step):
    layout = layout_of(batch_clips, micro, num_workers)
    shares = [p for rank in range(num_workers) for batch in layout.micro_batches(step, rank) for p in batch]
    assert sorted(shares) == list(range(step * batch_clips, (step + 1) * batch_clips))


def test_micro_batches_are_the_same_for_any_number_of_workers():
    def all_batches(num_workers):
        layout = layout_of(10, 3, num_workers)
        return {batch for rank in range(num_workers) for batch in layout.micro_batches(5, rank)}

    assert all_batches(1) == all_batches(2) == all_batches(4)


def test_a_layout_keeps_the_audio_per_step_when_the_crop_changes():
    short, long = (AudioConfig(crop_s=s, batch_s=3800, micro_batch_s=237.5) for s in (5.0, 30.0))
    assert short.batch_clips * 5.0 == pytest.approx(3800)
    assert long.batch_clips * 30.0 == pytest.approx(3800, rel=0.01)
    # Clips a GPU of the published recipe: 47 of 5 s, 7 of 30 s.
    assert (short.micro_batch_clips, long.micro_batch_clips) == (47, 7)


SCHEDULE = AudioConfig(
    crop_s=4,
    batch_s=24,
    micro_batch_s=8,
    crop_schedule=(CropStage(until_fraction=0.25, crop_s=1), CropStage(until_fraction=0.5, crop_s=2)),
)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 40, 41])
def test_a_schedule_of_crops_uses_every_position_once_and_in_order(max_steps):
    layout = StepLayout.of(SCHEDULE, max_steps, num_workers=2)
    used = []
    for step in range(max_steps):
        positions = sorted(p for rank in (0, 1) for batch in layout.micro_batches(step, rank) for p in batch)
        assert len(positions) * layout.stage(step).crop_samples == 24 * 16_000
        used += positions
    assert used == list(range(len(used)))
    assert layout.audio_s(max_steps) == 24 * max_steps


def test_a_schedule_goes_from_short_crops_to_the_run_s_own():
    layout = StepLayout.of(SCHEDULE, 40, num_workers=1)
    lengths = [layout.stage(step).crop_samples // 16_000 for step in range(40)]
    assert lengths == [1] * 10 + [2] * 10 + [4] * 20
    assert layout.stretches(5, 25) == [(5, 10), (10, 20), (20, 25)]
    assert layout.stretches(10, 20) == [(10, 20)]


def test_a_schedule_in_disorder_is_refused():
    with pytest.raises(ValueError, match=r"until_fraction \[0.5, 0.25\]; each must be above the one before"):
        AudioConfig(crop_schedule=({"until_fraction": 0.5, "crop_s": 1}, {"until_fraction": 0.25, "crop_s": 2}))
