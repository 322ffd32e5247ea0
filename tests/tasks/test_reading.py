"""The loop that every reader shares."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ray_musicssl.errors import DataError
from ray_musicssl.tasks import locate
from ray_musicssl.tasks.base import SPLITS
from ray_musicssl.tasks.reading import Item, Listing, Windows, read_items


@pytest.mark.parametrize(
    ("windows", "duration_s", "expected"),
    [
        (Windows(length_s=30, least_s=1), 60.5, [(0, 30), (30, 30)]),
        (Windows(length_s=30, least_s=1), 61.0, [(0, 30), (30, 30), (60, 1)]),
        (Windows(length_s=3, least_s=1), 2.0, [(0, 2)]),
        (Windows(length_s=30, least_s=30, slack_s=0.001), 59.9995, [(0, 30), (30, 30)]),
        (Windows(length_s=30, least_s=30, slack_s=0.001), 59.99, [(0, 30)]),
        (Windows(length_s=30, least_s=30), 12.0, [(0, 12)]),  # shorter than the least: whole
        (Windows(length_s=5, least_s=2.5), 44.62, [*((5 * k, 5) for k in range(8)), (40, 4.62)]),
    ],
)
def test_tracks_are_cut_from_their_start_and_short_rests_are_dropped(windows, duration_s, expected):
    np.testing.assert_allclose(windows.of(duration_s), expected)


@pytest.mark.parametrize("seed", range(20))
def test_windows_are_contiguous_and_lose_less_than_the_least(seed):
    rng = np.random.default_rng(seed)
    least_s = float(rng.uniform(0.5, 3))
    windows = Windows(length_s=3.0, least_s=least_s)
    duration_s = float(rng.uniform(least_s, 100))
    bounds = windows.of(duration_s)
    ends = np.cumsum([length for _, length in bounds])
    np.testing.assert_allclose([start for start, _ in bounds], [0, *ends[:-1]])
    assert -1e-9 <= duration_s - ends[-1] < least_s


@pytest.fixture
def listing(tmp_path, write_audio):
    """One usable track a split, and one for every reason to leave a track out."""
    for name in ("a", "b", "c"):
        write_audio(tmp_path / f"{name}.wav", 2.0)
    write_audio(tmp_path / "short.wav", 0.5)
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 8000)
    (tmp_path / "broken.wav").write_bytes(b"RIFFnonsense")
    names = ["c", "a", "b", "short", "empty", "silent", "broken", "gone", "mute", "odd"]
    splits = dict(zip(names, ["test", "train", "valid"], strict=False))
    items = [
        Item(
            id=name,
            split=splits.get(name, "train"),
            names=[f"{name}.mp3", f"{name}.wav"],
            target=None if name == "mute" else 1,
            fault="bad_row" if name == "odd" else None,
        )
        for name in names
    ]
    write_audio(tmp_path / "mute.wav", 2.0)
    return Listing(dataset="Any", items=items, folders=[tmp_path / "other", tmp_path], classes=["x"])


def test_each_item_is_used_or_has_the_first_reason_that_rules_it_out(listing, tmp_path):
    data = read_items(listing, tmp_path, annotations_only=False)
    assert [(e.id, e.split, e.path.name, e.duration_s) for e in data.examples] == [
        ("a", "train", "a.wav", 2.0),
        ("b", "valid", "b.wav", 2.0),
        ("c", "test", "c.wav", 2.0),
    ]
    assert [(item.id, item.reason) for item in data.skipped] == [  # in the order of the items
        ("short", "too_short"),
        ("empty", "empty"),
        ("silent", "empty"),
        ("broken", "undecodable"),
        ("gone", "missing"),
        ("mute", "no_label"),
        ("odd", "bad_row"),
    ]
    assert data.expected == {"train": 8, "valid": 1, "test": 1}
    assert next(item.path for item in data.skipped if item.id == "gone") == str(tmp_path / "other" / "gone.mp3")


def test_annotations_alone_promise_what_they_do_not_rule_out(listing, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda path: pytest.fail(f"{path} was looked for"))
    data = read_items(listing, tmp_path, annotations_only=True)
    assert data.used() == {"train": 6, "valid": 1, "test": 1}
    assert all(example.duration_s is None for example in data.examples)
    assert data.reasons() == {"no_label": 1, "bad_row": 1}


def test_an_item_without_a_split_is_a_bad_row(listing, tmp_path):
    lost = Item(id="lost", split=None, names=["a.wav"], target=1)
    data = read_items(
        Listing(dataset="Any", items=[*listing.items, lost], folders=[tmp_path], classes=["x"]),
        tmp_path,
        annotations_only=True,
    )
    assert [(item.split, item.reason) for item in data.skipped if item.id == "lost"] == [("", "bad_row")]


def test_files_are_opened_once_for_two_tasks_unless_they_change(listing, tmp_path, write_audio, monkeypatch):
    opened = []
    info = soundfile.info
    monkeypatch.setattr(locate.soundfile, "info", lambda path: opened.append(Path(path).name) or info(path))
    for _ in range(2):
        read_items(listing, tmp_path, annotations_only=False)
    assert opened.count("a.wav") == 1
    assert opened.count("broken.wav") == 2  # what is wrong with a file may pass
    write_audio(tmp_path / "a.wav", 3.0)
    data = read_items(listing, tmp_path, annotations_only=False)
    assert data.split("train")[0].duration_s == 3.0


def test_order_is_that_of_items_whichever_thread_is_first(tmp_path, write_audio):
    """Three times as many items as threads, and the answers depend on the item alone."""
    items = [Item(id=f"{k:02d}", split=SPLITS[k % 3], names=[f"{k}.wav"], target=k) for k in range(48)]
    for k in range(0, 48, 2):
        write_audio(tmp_path / f"{k}.wav", 1.0 + k / 100)
    data = read_items(
        Listing(dataset="Any", items=items, folders=[tmp_path], classes=["x"]), tmp_path, annotations_only=False
    )
    assert [(e.id, e.target, e.path.stem) for e in data.examples] == [(f"{k:02d}", k, f"{k}") for k in range(0, 48, 2)]
    assert [item.id for item in data.skipped] == [f"{k:02d}" for k in range(1, 48, 2)]


def test_a_split_with_nothing_usable_is_refused(listing, tmp_path):
    (tmp_path / "b.wav").unlink()
    with pytest.raises(DataError, match=r"no usable item in valid .*2 missing"):
        read_items(listing, tmp_path, annotations_only=False)


def test_a_folder_is_listed_once_and_nothing_is_looked_up_that_is_not_in_it(listing, tmp_path, monkeypatch):
    listed, absent = [], []
    listdir, stat = os.listdir, os.stat

    def count(path, **kwargs):
        try:
            return stat(path, **kwargs)
        except FileNotFoundError:
            absent.append(Path(path))
            raise

    monkeypatch.setattr(os, "listdir", lambda path: listed.append(Path(path)) or listdir(path))
    monkeypatch.setattr(os, "stat", count)
    read_items(listing, tmp_path, annotations_only=False)
    assert listed == [tmp_path]
    assert absent == [tmp_path / "other"]  # a folder; ten items may be there as .mp3 or as .wav
