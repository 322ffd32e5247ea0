import numpy as np
import pyarrow as pa
import pytest

from ray_musicssl.audio.frames import MFCC_GRID
from ray_musicssl.audio.shard import MANIFEST_SCHEMA
from ray_musicssl.clustering.sample import LEAST_BLOCKS, choose_clips

CLIP_SAMPLES = 16_240  # 100 MFCC frames


def manifest(num_clips=60, num_samples=CLIP_SAMPLES, clips_per_part=20, clips_per_group=5):
    index = np.arange(num_clips)
    inside = index % clips_per_part
    columns = {
        "clip_id": [f"clip-{i}" for i in index],
        "track_id": [f"track-{i}" for i in index],
        "offset_s": np.zeros(num_clips),
        "num_samples": np.broadcast_to(num_samples, num_clips),
        "part": index // clips_per_part,
        "row_group": inside // clips_per_group,
        "row": inside % clips_per_group,
    }
    return pa.table(columns).cast(MANIFEST_SCHEMA)


def addresses(sample):
    return [
        address
        for block in sample.blocks
        for address in zip(block.parts.tolist(), block.row_groups.tolist(), block.rows.tolist(), strict=True)
    ]


def choose(table, max_frames=10**9, seed=0, dim=39):
    return choose_clips(table, MFCC_GRID, dim=dim, max_frames=max_frames, seed=seed)


def test_all_clips_are_used_in_manifest_order_when_they_fit():
    table = manifest()
    sample = choose(table)
    expected = list(zip(*(table[name].to_pylist() for name in ("part", "row_group", "row")), strict=True))
    assert addresses(sample) == expected
    assert (sample.num_clips, sample.num_frames, sample.num_frames_in_all) == (60, 6000, 6000)


@pytest.mark.parametrize("max_frames", [1, 100, 101, 2550, 5999])
def test_a_sample_holds_the_frames_asked_for_and_at_most_a_clip_more(max_frames):
    sample = choose(manifest(), max_frames)
    assert max_frames <= sample.num_frames < max_frames + 100
    assert sample.num_frames == sum(block.num_frames for block in sample.blocks)
    assert addresses(sample) == sorted(addresses(sample))


def test_the_sample_depends_on_ids_and_seed_and_not_on_their_order():
    table = manifest()
    turned = table.take(np.arange(60)[::-1])
    assert set(addresses(choose(table, 2000))) == set(addresses(choose(turned, 2000)))
    assert set(addresses(choose(table, 2000))) != set(addresses(choose(table, 2000, seed=1)))


def test_larger_samples_contain_smaller_ones():
    table = manifest()
    assert set(addresses(choose(table, 1000))) < set(addresses(choose(table, 3000)))


def test_blocks_are_even_and_their_number_depends_on_the_frames_alone():
    sample = choose(manifest(80))
    assert len(sample.blocks) == LEAST_BLOCKS
    assert {block.num_frames for block in sample.blocks} == {1000}
    assert len(choose(manifest(80), dim=39_000).blocks) > LEAST_BLOCKS  # 1.2 GB


def test_a_block_has_frames_enough_for_the_sums_of_its_clusters():
    wide = {"dim": 39_000, "max_frames": 10**9, "seed": 0}
    blocks = choose_clips(manifest(80), MFCC_GRID, num_clusters=40, **wide).blocks
    assert len(blocks) == 8000 // (16 * 40)
    assert len(blocks) < len(choose_clips(manifest(80), MFCC_GRID, **wide).blocks)


def test_clips_without_frames_are_left_out():
    sample = choose(manifest(10, num_samples=np.array([399, CLIP_SAMPLES] * 5)))
    assert (sample.num_clips, sample.num_frames) == (5, 500)


def test_no_frames_at_all_give_no_blocks():
    assert choose(manifest(3, num_samples=10)).blocks == ()
