"""What a run's stream holds, read without Ray; that Ray deals it in rank order is seen in `test_pretrain`."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from ray.data import ExecutionResources
from ray.data._internal.execution.execution_callback import ExecutionCallback

from ray_musicssl.audio.shard import open_shards
from ray_musicssl.config.audio import AudioConfig
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray import batches
from ray_musicssl.on_ray.batches import REST_S, StreamSpec, in_order, make_dataset, read_here
from ray_musicssl.run_dir import RunDir, done_facts, mark_done
from ray_musicssl.training.loop import Run, Worker
from ray_musicssl.training.plan import StepLayout
from ray_musicssl.training.reader import CropReader, LabelSource

LABELS = {"feature": {"name": "semitone"}, "frame_rate": 50.0, "num_clusters": 7919}
NUM_CLIPS = 30
LAYOUTS = [(1, 1), (4, 1), (6, 4), (7, 3), (NUM_CLIPS, 8)]  # crops in a step and in a micro-batch


@pytest.fixture(scope="module")
def shards(tmp_path_factory, make_shards):
    return make_shards(tmp_path_factory.mktemp("batches") / "shards", seconds=[1.0] * NUM_CLIPS, label_sets=[LABELS])


@pytest.fixture
def make_spec(shards, monkeypatch):
    """A stream of 0.25 s crops in chunks of three steps."""

    def make(batch_clips=4, micro_batch_clips=2, num_workers=1, max_steps=10, chunk_steps=3, crop_schedule=()):
        monkeypatch.setattr(batches, "CHUNK_BYTES", chunk_steps * 2 * batch_clips * 4000)
        audio = AudioConfig(
            crop_s=0.25, batch_s=0.25 * batch_clips, micro_batch_s=0.25 * micro_batch_clips, crop_schedule=crop_schedule
        )
        labels = (LabelSource(shards.labels_dir / f"{0:016x}", 50.0),)
        return StreamSpec(
            shards_dir=shards.path,
            shards_hash=shards.content_hash,
            labels=labels,
            label_hashes=("0",),
            longest_crop_samples=4000,
            seed=5,
            with_levels=True,
            layout=StepLayout.of(audio, max_steps, num_workers),
        )

    return make


def dealt(spec, first_step=0):
    """What each worker receives: rows are dealt in turn, as the splitter deals blocks in order."""
    steps = [[] for _ in range(spec.layout.num_workers)]
    item = pa.table({"first": [first_step], "stop": [spec.max_steps]})
    for number, row in enumerate(batches._read_item(item, spec)):
        steps[number % spec.layout.num_workers] += batches._unpack(row, spec)
    return steps


@pytest.mark.parametrize(("batch_clips", "micro_batch_clips"), LAYOUTS)
@pytest.mark.parametrize("first_step", [0, 4])
def test_a_worker_alone_reads_what_the_plan_says(make_spec, shards, batch_clips, micro_batch_clips, first_step):
    spec = make_spec(batch_clips, micro_batch_clips)
    reader = CropReader(shards, spec.labels, longest_crop_samples=4000, seed=5, with_levels=True)
    steps = list(read_here(spec, first_step))
    assert [crops.step for crops in steps] == list(range(first_step, 10))
    for crops in steps:
        first = crops.step * batch_clips
        expected = reader.read(range(first, first + batch_clips), 4000)
        assert crops.positions == list(range(first, first + batch_clips))
        np.testing.assert_array_equal(crops.crops.pcm, expected.pcm)
        np.testing.assert_array_equal(crops.crops.labels[0], expected.labels[0])
        np.testing.assert_array_equal(crops.crops.mean, expected.mean)
        np.testing.assert_array_equal(crops.crops.std, expected.std)


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_three_epochs_give_every_position_once_and_every_clip_once_an_epoch(make_spec, shards, num_workers):
    spec = make_spec(6, 2, num_workers, max_steps=3 * NUM_CLIPS // 6)
    workers = dealt(spec)
    positions = [position for steps in workers for crops in steps for position in crops.positions]
    assert sorted(positions) == list(range(3 * NUM_CLIPS))
    plan = CropReader(shards, spec.labels, longest_crop_samples=4000, seed=5, with_levels=True).plan
    for epoch in range(3):
        inside = [position for position in positions if position // NUM_CLIPS == epoch]
        clips = [int(plan.entries(position, position + 1).clip[0]) for position in inside]
        assert sorted(clips) == list(range(NUM_CLIPS))


@pytest.mark.parametrize("num_workers", [2, 3])
def test_several_workers_receive_the_crops_of_one_shared_out_by_the_layout(make_spec, num_workers):
    alone = {
        position: (crops.crops.pcm[i], crops.crops.labels[0][i])
        for crops in read_here(make_spec(7, 2), 0)
        for i, position in enumerate(crops.positions)
    }
    spec = make_spec(7, 2, num_workers)
    for rank, steps in enumerate(dealt(spec)):
        assert [crops.step for crops in steps] == list(range(10))
        for crops in steps:
            planned = [p for batch in spec.layout.micro_batches(crops.step, rank) for p in batch]
            assert crops.positions == planned
            for i, position in enumerate(crops.positions):
                np.testing.assert_array_equal(crops.crops.pcm[i], alone[position][0])
                np.testing.assert_array_equal(crops.crops.labels[0][i], alone[position][1])


@pytest.mark.parametrize("chunk_steps", [1, 2, 7, 100])
def test_the_size_of_the_chunks_changes_nothing(make_spec, chunk_steps):
    expected = [(c.step, c.positions, c.crops.pcm.tobytes()) for c in read_here(make_spec(), 1)]
    spec = make_spec(chunk_steps=chunk_steps)
    assert spec.chunk_steps == chunk_steps
    assert [(c.step, c.positions, c.crops.pcm.tobytes()) for c in read_here(spec, 1)] == expected


def test_a_schedule_of_crops_cuts_chunks_where_the_length_changes(make_spec, shards):
    schedule = [{"until_fraction": 0.5, "crop_s": 0.125}]
    spec = make_spec(num_workers=2, crop_schedule=schedule)
    assert spec.chunks(0, 10)[:3] == [(0, 3), (3, 5), (5, 8)]
    reader = CropReader(shards, spec.labels, longest_crop_samples=4000, seed=5, with_levels=True)
    alone = make_spec(crop_schedule=schedule)
    for crops in read_here(alone, 0):
        length = 2000 if crops.step < 5 else 4000
        planned = range(crops.positions[0], crops.positions[-1] + 1)
        assert len(planned) == 4 * 4000 // length
        np.testing.assert_array_equal(crops.crops.pcm, reader.read(planned, length).pcm)
    shared = sorted(position for steps in dealt(spec) for crops in steps for position in crops.positions)
    assert shared == list(range(5 * 8 + 5 * 4))


def test_a_batch_larger_than_a_chunk_still_travels_one_step_at_a_time(make_spec):
    assert make_spec(chunk_steps=0).chunk_steps == 1


@pytest.mark.parametrize("first_step", [0, 7, 9])
@pytest.mark.parametrize("most_items", [2, 2000])
def test_the_items_of_the_dataset_cover_each_step_once(make_spec, monkeypatch, first_step, most_items):
    seen = []
    monkeypatch.setattr(batches, "MOST_ITEMS", most_items)
    monkeypatch.setattr(batches.ray.data, "from_items", lambda items, override_num_blocks: _Recorded(seen, items))
    make_dataset(make_spec(chunk_steps=1), first_step)
    assert [step for item in seen for step in range(item["first"], item["stop"])] == list(range(first_step, 10))
    assert len(seen) <= most_items


class _Recorded:
    """Stands in for a dataset; building a real one needs a cluster."""

    def __init__(self, seen, items):
        seen += items

    def map_batches(self, function, **options):
        assert options["batch_size"] is None  # a block is an item


def test_the_stream_keeps_its_order():
    assert in_order().preserve_order


@pytest.mark.ray
def test_a_stream_that_waits_for_its_worker_turns_slowly(make_spec, cluster):
    turns = []

    class Count(ExecutionCallback):
        def on_execution_step(self, executor):
            turns.append(executor)

    dataset = make_dataset(make_spec(chunk_steps=1), 0)
    dataset.context.custom_execution_callback_classes.append(Count)
    # Room for one chunk: with it full, no task runs until the worker takes the chunk.
    dataset.context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=1)
    begin = time.monotonic()
    for _ in dataset.iter_batches(batch_size=1, batch_format="pyarrow"):
        time.sleep(0.3)
    assert len(turns) <= (time.monotonic() - begin) / REST_S + 1


def test_a_worker_that_receives_other_positions_than_planned_stops(tiny, tmp_path):
    config = tiny.config("training.max_steps=4")
    run = Run(config=config, run_dir=RunDir(tmp_path), num_labels=[], label_entropy=0.0, provenance={})
    spec = StreamSpec.of(config, tiny.shards, [], 1)

    def shifted():
        for crops in read_here(spec, 0):
            moved = crops.positions if crops.step < 2 else [position + 1 for position in crops.positions]
            yield replace(crops, positions=moved)

    worker = Worker(run, device=torch.device("cpu"), checkpoint=None)
    with pytest.raises(DataError, match=r"expected step 2 with positions \[16, .*received step 2 with \[17, "):
        worker.train(shifted(), lambda step, write: None)


def test_a_worker_that_misses_a_step_stops(tiny, tmp_path):
    config = tiny.config("training.max_steps=4")
    run = Run(config=config, run_dir=RunDir(tmp_path), num_labels=[], label_entropy=0.0, provenance={})
    spec = StreamSpec.of(config, tiny.shards, [], 1)
    worker = Worker(run, device=torch.device("cpu"), checkpoint=None)
    late = (crops for crops in read_here(spec, 0) if crops.step != 1)
    with pytest.raises(DataError, match=r"expected step 1 .*received step 2"):
        worker.train(late, lambda step, write: None)


@pytest.fixture
def replaced_shards(tiny, tmp_path, make_shards):
    """Shards that were read once, and then replaced by others at the same place: before and after."""
    path = tmp_path / "shards"
    before = make_shards(path, seconds=[1.0] * 20)
    list(read_here(StreamSpec.of(tiny.config("training.max_steps=1"), before, [], 1), 0))
    shutil.rmtree(path)
    make_shards(path, seconds=[1.5] * 20)
    facts = done_facts(path, "prepare") | {"content_hash": "0123456789abcdef"}
    mark_done(path, "prepare", fingerprint="y", facts=facts)
    return before, open_shards(path)


def test_a_reader_that_has_seen_other_audio_at_the_same_place_reads_it_anew(tiny, replaced_shards):
    config, (_, after) = tiny.config("training.max_steps=1"), replaced_shards
    (crops,) = read_here(StreamSpec.of(config, after, [], 1), 0)
    reader = CropReader(after, [], longest_crop_samples=8000, seed=config.training.seed, with_levels=False)
    np.testing.assert_array_equal(crops.crops.pcm, reader.read(range(8), 8000).pcm)


def test_a_run_does_not_go_on_with_audio_that_was_put_in_the_place_of_its_own(tiny, replaced_shards):
    before, _ = replaced_shards
    batches._reader.cache_clear()
    with pytest.raises(DataError, match=r"holds the audio 0123456789abcdef, but this run began with feedfeedfeedfeed"):
        next(read_here(StreamSpec.of(tiny.config(), before, [], 1), 0))
