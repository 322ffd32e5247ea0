"""Labels of a demo corpus held against its truth. The audio is not rendered: only scores and labels matter here."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from ray_musicssl import randomness
from ray_musicssl.audio.ledger import LEDGER_SCHEMA
from ray_musicssl.audio.shard import CLIP_SCHEMA, LABEL_SCHEMA, MANIFEST_SCHEMA, open_shards, part_name
from ray_musicssl.audio.sources import AudioFile
from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.truth import KINDS, truth_at
from ray_musicssl.on_ray import judge as stage
from ray_musicssl.on_ray.judge import QUALITY_NAME, judge_labels
from ray_musicssl.run_dir import mark_done, read_json, write_json

FRAME_RATE, CLIP_S, NUM_CLUSTERS = 50.0, 5.0, 90
CLIPS = [(0, 0.0), (0, 5.0), (1, 0.0), (2, 10.0), (3, 0.0)]  # song and offset; two parts of row groups of two
SIZE = 7
WARNED = ("label entropy", "mean run of a label")


def times_of(offset_s):
    return offset_s + (np.arange(int(CLIP_S * FRAME_RATE) - 1) * 320 + 200) / 16_000


@pytest.fixture
def songs(tmp_path):
    """A finished corpus whose files are not audio."""
    corpus = plan("tiny", 3)
    out = tmp_path / "data"
    (out / "pool").mkdir(parents=True)
    jobs = corpus.jobs_of("pool")
    for job in jobs:
        (out / job.path).write_bytes(bytes(SIZE))
    facts = {"preset": "tiny", "seed": 3, "sets": list(corpus.sets)}
    mark_done(out, "demo-data", fingerprint=corpus.fingerprint, facts=facts)
    return jobs


@pytest.fixture
def shards(tmp_path, songs):
    path = tmp_path / "shards"
    path.mkdir()
    names = [job.path.removeprefix("pool/") for job in songs]
    tracks = [AudioFile(path=name, location="").track_id for name in names]
    places = []
    for part, (first, stop) in enumerate(((0, 3), (3, 5))):
        rows = []
        for row, (song, offset_s) in enumerate(CLIPS[first:stop]):
            clip = {"clip_id": f"{song}-{offset_s}", "track_id": tracks[song], "offset_s": offset_s}
            rows.append(clip | {"num_samples": 80_000, "pcm": b""})
            places.append(clip | {"num_samples": 80_000, "part": part, "row_group": row // 2, "row": row % 2})
        pq.write_table(pa.Table.from_pylist(rows, CLIP_SCHEMA), path / part_name(part), row_group_size=2)
    pq.write_table(pa.Table.from_pylist(places, MANIFEST_SCHEMA), path / "manifest.parquet")
    ledger = [{"path": name, "track_id": track, "size_bytes": SIZE} for name, track in zip(names, tracks, strict=True)]
    pq.write_table(pa.Table.from_pylist(ledger, LEDGER_SCHEMA), path / "ledger.parquet")
    mark_done(path, "prepare", fingerprint="x", facts={"content_hash": "h", "num_clips": 5, "seconds": 25.0})
    return open_shards(path)


def write_labels(shards, name, labels):
    """A finished set; `labels` has those of every clip."""
    directory = shards.labels_dir / name
    directory.mkdir(parents=True)
    for part, (first, stop) in enumerate(((0, 3), (3, 5))):
        clips = [f"{song}-{offset_s}" for song, offset_s in CLIPS[first:stop]]
        rows = [{"clip_id": k, "labels": values} for k, values in zip(clips, labels[first:stop], strict=True)]
        table = pa.Table.from_pylist(rows, LABEL_SCHEMA)
        pq.write_table(table, directory / part_name(part), row_group_size=2)
    facts = {
        "shards": "h",
        "codebook_hash": name,
        "num_clusters": NUM_CLUSTERS,
        "frame_rate": FRAME_RATE,
        "entropy_nats": 1.0,
        "feature": {"name": "semitone"},
    }
    mark_done(directory, "label", fingerprint=name, facts=facts)
    return directory


@pytest.fixture
def in_process(monkeypatch):
    """Tasks that end in the opposite order, in this process."""

    def run_tasks(function, items):
        for index in reversed(range(len(items))):
            yield index, function(items[index])

    monkeypatch.setattr(stage, "run_tasks", run_tasks)
    monkeypatch.setattr(stage, "session", nullcontext)


def truth_of(songs, kind):
    return [truth_at(songs[song].score(), times_of(offset_s))[kind] for song, offset_s in CLIPS]


def by_kind(path):
    return {entry["kind"]: entry for entry in read_json(path)["truth"]}


@pytest.mark.usefixtures("in_process")
def test_labels_that_are_the_bass_know_the_bass_and_nothing_by_chance(songs, shards):
    directory = write_labels(shards, "bass", [np.maximum(c, 0) for c in truth_of(songs, "bass")])
    found = by_kind(judge_labels(shards, directory))
    assert list(found) == list(KINDS)
    bass = found["bass"]
    assert (bass["labels"]["pnmi"], bass["labels"]["class_purity"]) == pytest.approx((1, 1))
    assert bass["shuffled"]["pnmi"] < 0.2
    assert bass["other_song"]["pnmi"] < 0.7


@pytest.mark.usefixtures("in_process")
def test_every_measure_is_that_of_all_frames_at_once(songs, shards):
    rng = np.random.default_rng(0)
    labels = [(np.arange(249) // 6 * 7 + rng.integers(0, 3)) % NUM_CLUSTERS for _ in CLIPS]
    path = judge_labels(shards, write_labels(shards, "any", labels))
    every_label = np.concatenate(labels)
    circle = randomness.permutation(4, 0, "another song").tolist()
    # Tracks are numbered in the order of their names.
    in_order = sorted(range(4), key=lambda song: AudioFile(path=songs[song].path[5:], location="").track_id)
    follower = {in_order[a]: in_order[b] for a, b in zip(circle, [*circle[1:], circle[0]], strict=True)}
    assert all(song != other for song, other in follower.items())
    for kind, found in by_kind(path).items():
        for name, of_song in (("labels", lambda song: song), ("other_song", follower.get)):
            classes = [truth_at(songs[of_song(song)].score(), times_of(offset))[kind] for song, offset in CLIPS]
            known = np.concatenate(classes) >= 0
            pair = np.concatenate(classes)[known], every_label[known]
            assert found[name]["num_frames"] == known.sum()
            assert found[name]["pnmi"] == pytest.approx(metrics.homogeneity_score(*pair))
            assert found[name]["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(*pair))


@pytest.mark.usefixtures("in_process")
def test_measures_of_these_labels_are_kept_and_others_replaced(songs, shards, monkeypatch):
    directory = write_labels(shards, "kept", [c * 0 for c in truth_of(songs, "bass")])
    path = judge_labels(shards, directory)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_tasks", lambda *_: pytest.fail("nothing is left to count"))
        assert judge_labels(shards, directory) == path
    monkeypatch.setattr(stage, "VERSION", 0)
    judge_labels(shards, directory)
    assert path.read_bytes() != before


@pytest.mark.usefixtures("in_process")
def test_labels_of_other_music_are_left_alone(songs, shards, tmp_path):
    directory = write_labels(shards, "other", [c * 0 for c in truth_of(songs, "bass")])
    assert judge_labels(shards, directory, corpus_dir=tmp_path / "nowhere") is None
    (tmp_path / "data" / songs[2].path).write_bytes(bytes(SIZE + 1))
    assert judge_labels(shards, directory) is None
    (shards.path / "ledger.parquet").unlink()
    assert judge_labels(shards, directory) is None
    assert not (directory / QUALITY_NAME).exists()


@pytest.mark.usefixtures("in_process")
def test_the_command_warns_and_prints_what_labels_know(songs, shards, run, caplog):
    directory = write_labels(shards, "bass", [np.maximum(c, 0) for c in truth_of(songs, "bass")])
    marker = directory / "done-label.json"
    write_json(marker, read_json(marker) | {"usage": [5000, 5], "run_lengths": [0, *[0] * 49, 100]})
    said = run("judge", "--shards", shards.path)
    assert said.code == 0, said.err
    assert f"-> {directory / QUALITY_NAME}" in said.out
    (row,) = [line.split() for line in said.out.splitlines() if line.split()[:2] == ["bass", "bass"]]
    assert row[3:6] == ["1.0", "1.0", "1.0"]
    told = [record.getMessage() for record in caplog.records]
    assert [text.removeprefix(f"labels {directory}: ").partition(":")[0] for text in told] == list(WARNED)
    rows = json.loads(run("judge", "--shards", shards.path, "--json").out)
    assert [row["truth"] for row in rows] == list(KINDS)
    assert run("judge", "--shards", shards.path, "--truth", shards.path).code == 2


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_cluster_counts_as_one_process_does(songs, shards, monkeypatch):
    labels = truth_of(songs, "chord")
    on_cluster = judge_labels(shards, write_labels(shards, "ray", [np.maximum(c, 0) for c in labels]))
    monkeypatch.setattr(stage, "run_tasks", lambda function, items: enumerate(map(function, items)))
    text = on_cluster.read_text()
    on_cluster.unlink()
    assert judge_labels(shards, on_cluster.parent).read_text() == text


def test_a_single_song_has_no_other_one(songs):
    pairs = stage._paired({"track": songs[0]})
    assert pairs["track"].other == songs[0]
    many = stage._paired({str(k): replace(songs[0], index=k) for k in range(9)})
    assert all(pair.own != pair.other for pair in many.values())
    assert len({pair.other.index for pair in many.values()}) == 9
