import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.audio.parts import FEWEST_PARTS, estimate_bytes, plan_parts, recorded_parts, write_plan
from ray_musicssl.audio.sources import AudioFile
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import ResumeRefusedError


def files_of(sizes: list[int], extension: str = "mp3") -> list[AudioFile]:
    return [AudioFile(path=f"{i:04d}.{extension}", location=f"/{i}", size_bytes=size) for i, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=60), st.floats(0.1, 200))
def test_parts_hold_every_file_once_in_order_and_stay_small(sizes, part_mb):
    files = files_of(sizes)
    plan = plan_parts(files, PrepareConfig(part_mb=part_mb))
    assert [file for part in plan.parts for file in part.files] == files
    assert [part.number for part in plan.parts] == list(range(len(plan.parts)))
    for part in plan.parts:
        assert len(part.files) == 1 or sum(map(estimate_bytes, part.files)) <= part_mb * 1e6


@pytest.mark.parametrize("num_files", [1, 5, 16, 17, 31, 32, 100, 1000])
def test_files_of_one_size_give_enough_parts_for_small_clusters(num_files):
    parts = plan_parts(files_of([5_000_000] * num_files), PrepareConfig()).parts
    assert len(parts) >= min(num_files, FEWEST_PARTS)


def test_large_collections_get_parts_of_the_wanted_size():
    parts = plan_parts(files_of([5_000_000] * 2000), PrepareConfig(part_mb=120)).parts
    sizes = [sum(map(estimate_bytes, part.files)) for part in parts[:-1]]
    assert min(sizes) > 100e6


def test_what_is_not_decoded_needs_no_room():
    film = AudioFile(path="film.mp4", location="/film.mp4", size_bytes=9_000_000_000, problem="unsupported format: mp4")
    assert estimate_bytes(film) == estimate_bytes(files_of([0])[0])


def test_a_part_is_known_by_its_own_files_and_the_settings():
    files = files_of([5_000_000] * 20)
    plan = plan_parts(files, PrepareConfig())
    moved = [AudioFile(path=f.path, location=f"/elsewhere{f.location}", size_bytes=f.size_bytes) for f in files]
    assert plan_parts(moved, PrepareConfig()).fingerprint == plan.fingerprint
    other = plan_parts(files, PrepareConfig(clip_s=10))
    assert all(a.fingerprint != b.fingerprint for a, b in zip(plan.parts, other.parts, strict=True))
    assert len({part.fingerprint for part in plan.parts}) == len(plan.parts)


def test_a_plan_may_be_taken_up_again_but_not_changed(tmp_path):
    files = files_of([10, 20, 30])
    plan = plan_parts(files, PrepareConfig())
    write_plan(tmp_path, plan)
    write_plan(tmp_path, plan)
    assert recorded_parts(tmp_path) == len(plan.parts)
    changed = [
        *files[1:],
        AudioFile(path="new\n.wav", location="/n"),
        AudioFile(path="0001.mp3", location="", size_bytes=7),
    ]
    with pytest.raises(ResumeRefusedError) as refused:
        write_plan(tmp_path, plan_parts(changed, PrepareConfig(clip_s=10)))
    for text in ("clip_s 30.0 -> 10.0", "added: new\\n.wav", "gone: 0000.mp3", "changed: 0001.mp3", "--fresh", "--out"):
        assert text in str(refused.value)
