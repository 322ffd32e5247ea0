"""What a codebook shows on TensorBoard; the clips are tones, so that each cluster can be heard."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.audio.shard import CLIP_SCHEMA, MANIFEST_SCHEMA, open_shards, part_name, pcm_views
from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import SemitoneConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features.base import clip_frames, make_feature
from ray_musicssl.features.semitone import Semitone
from ray_musicssl.on_ray import codebook_board as board
from ray_musicssl.on_ray.codebook_board import joined, nearest_examples, spread_over_usage, write_codebook_board
from ray_musicssl.run_dir import mark_done

FEATURE = SemitoneConfig()
PITCHES = (57, 61, 64)  # of every clip, a second each, in an order of its own
NUM_CLIPS = 5


def sine(pitch):
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return (9000 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_s)).astype("<i2")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two parts of clips of three tones, row groups of two; the noise differs from clip to clip."""
    path = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    places = []
    for part, clips in enumerate((range(3), range(3, NUM_CLIPS))):
        rows = []
        for row, number in enumerate(clips):
            tones = np.concatenate([sine(PITCHES[(number + k) % 3]) for k in range(3)])
            pcm = (tones + rng.normal(0, 5 + 20 * number, len(tones))).astype("<i2")
            clip = {"clip_id": f"clip-{number}", "track_id": str(number), "offset_s": 0.0, "num_samples": len(pcm)}
            rows.append(clip | {"pcm": pcm.tobytes()})
            places.append(clip | {"part": part, "row_group": row // 2, "row": row % 2})
        pq.write_table(pa.Table.from_pylist(rows, CLIP_SCHEMA), path / part_name(part), row_group_size=2)
    pq.write_table(pa.Table.from_pylist(places, MANIFEST_SCHEMA), path / "manifest.parquet")
    mark_done(path, "prepare", fingerprint="x", facts={"content_hash": "h", "num_clips": 5, "seconds": 15.0})
    return open_shards(path)


def clip_pcm(shards):
    return [pcm for part in (0, 1) for pcm in pcm_views(pq.read_table(shards.part_path(part))["pcm"])]


@pytest.fixture(scope="module")
def codebook(shards):
    """A centroid for each pitch, and one that no frame is near."""
    feature = make_feature(FEATURE)
    pure = np.stack([clip_frames(feature, sine(pitch))[25] for pitch in PITCHES])
    centroids = np.concatenate([pure, np.full((1, feature.dim), 50, np.float32)]).astype(np.float32)
    record = FitRecord(
        parent="h",
        clustering=ClusteringConfig(num_clusters=4),
        num_frames=600,
        inertia=(1200.0, 900.0, 600.0),
        usage=(300, 100, 200, 0),
    )
    return Codebook(centroids, FEATURE, 50.0, record)


@pytest.fixture
def in_process(monkeypatch):
    def run_tasks(function, items, **_):
        for index in reversed(range(len(items))):
            yield index, function(items[index])

    monkeypatch.setattr(board, "run_tasks", run_tasks)
    monkeypatch.setattr(board, "session", nullcontext)
    monkeypatch.setattr(board, "gpus_per_task", lambda _: 0)


@pytest.mark.usefixtures("in_process")
def test_examples_are_the_nearest_frame_of_each_clip_nearest_first(shards, codebook):
    feature = make_feature(FEATURE)
    found = nearest_examples(shards, codebook, (2, 0))
    assert [example.cluster for example in found] == [2] * 4 + [0] * 4
    for cluster in (0, 2):
        expected = []
        for number, pcm in enumerate(clip_pcm(shards)):
            distances = ((clip_frames(feature, pcm)[:, None] - codebook.centroids.astype(np.float64)) ** 2).sum(-1)
            own = np.where(distances.argmin(1) == cluster, distances[:, cluster], np.inf)
            expected.append((own.min(), f"clip-{number}", int(own.argmin())))
        of_cluster = [(e.distance, e.clip_id, e.frame) for e in found if e.cluster == cluster]
        assert [e[1:] for e in of_cluster] == [e[1:] for e in sorted(expected)[:4]]
        np.testing.assert_allclose([e[0] for e in of_cluster], [e[0] for e in sorted(expected)[:4]], rtol=1e-6)


@pytest.mark.usefixtures("in_process")
def test_the_sound_of_an_example_is_that_of_its_cluster(shards, codebook):
    for example in nearest_examples(shards, codebook, (0, 1, 2)):
        assert len(example.pcm) == 12_000
        centre = clip_pcm(shards)[int(example.clip_id[-1])][example.frame * 320 :][:400]
        (place,) = [k for k in range(len(example.pcm) - 399) if np.array_equal(centre, example.pcm[k : k + 400])]
        spectrum = np.abs(np.fft.rfft(example.pcm[place : place + 400] * np.hanning(400), SAMPLE_RATE))
        heard = [spectrum[round(440 * 2 ** ((pitch - 69) / 12))] for pitch in PITCHES]
        assert int(np.argmax(heard)) == example.cluster


@pytest.mark.usefixtures("in_process")
def test_a_few_clips_give_further_examples_that_do_not_overlap(shards, codebook, monkeypatch):
    monkeypatch.setattr(board, "EXCERPT_S", 0.2)
    monkeypatch.setattr(board, "NUM_EXAMPLES", 8)
    found = nearest_examples(shards, codebook, (1,))
    assert [example.rank for example in found] == [0] * 5 + [1] * 3
    for first in found[:5]:
        assert all(abs(e.frame - first.frame) >= 10 for e in found[5:] if e.clip_id == first.clip_id)


def test_clusters_are_spread_from_the_fullest_to_the_emptiest_alive():
    assert spread_over_usage([5, 0, 9, 7, 1], 3) == (2, 0, 4)
    assert spread_over_usage([5, 0, 9], 16) == (2, 0)
    assert spread_over_usage(list(range(101)), 5) == (100, 75, 50, 26, 1)
    assert spread_over_usage([0, 0], 3) == ()


def test_excerpts_are_faded_and_kept_apart_by_silence(shards, codebook):
    loud = np.full(12_000, 16384, np.int16)
    example = board.Example(cluster=0, rank=0, distance=0.0, place=(0, 0, 0), frame=0, clip_id="x", pcm=loud)
    sound = joined([example, replace(example, pcm=loud[:50])])
    assert len(sound) == 12_000 + 3200 + 50
    assert sound[0] == sound[11_999] == 0
    np.testing.assert_array_equal(sound[160:11_840], np.float32(0.5))
    np.testing.assert_array_equal(sound[12_000:15_200], np.float32(0))
    assert len(joined([])) == 3200


@pytest.mark.usefixtures("in_process")
def test_the_board_has_the_fit_the_usage_and_the_examples_and_is_written_once(shards, codebook, tmp_path, monkeypatch):
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "events.out.tfevents.1.killed").write_bytes(b"torn")
    directory = write_codebook_board(shards, codebook, tmp_path)
    assert directory == tmp_path / "tb"
    events = EventAccumulator(str(directory), size_guidance={"audio": 0, "images": 0, "scalars": 0}).Reload()
    inertia = [(event.step, event.value) for event in events.Scalars("codebook/inertia")]
    assert inertia == [(0, 2.0), (1, 1.5), (2, 1.0)]
    (entropy,) = events.Scalars("codebook/entropy_bits")
    assert (entropy.step, entropy.value) == (2, pytest.approx(1.459, abs=1e-3))
    assert [event.value for event in events.Scalars("codebook/dead_clusters")] == [1]
    assert sorted(events.Tags()["audio"]) == [f"codebook/cluster-{k:04d}" for k in range(3)]
    (sound,) = events.Audio("codebook/cluster-0000")
    assert (sound.sample_rate, sound.length_frames) == (SAMPLE_RATE, 4 * 12_000 + 3 * 3200)
    assert events.Tags()["images"] == ["codebook/usage, fullest first"]
    assert len(list(directory.glob("events.*"))) == 1

    with monkeypatch.context() as patch:
        patch.setattr(board, "run_tasks", lambda *_, **__: pytest.fail("the board is there"))
        assert write_codebook_board(shards, codebook, tmp_path) == directory
    other = replace(codebook, centroids=codebook.centroids[:3], fit=replace(codebook.fit, usage=(300, 100, 200)))
    write_codebook_board(shards, other, tmp_path)
    assert len(list(directory.glob("events.*"))) == 1
    events = EventAccumulator(str(directory)).Reload()
    assert [event.value for event in events.Scalars("codebook/dead_clusters")] == [0]


@pytest.mark.usefixtures("in_process")
def test_a_review_warns_of_what_is_not_normal(shards, codebook, tmp_path, caplog):
    board.review_codebook(shards, codebook, tmp_path)
    told = [record.getMessage().removeprefix(f"codebook {tmp_path}: ").partition(":")[0] for record in caplog.records]
    assert told == ["dead clusters", "label entropy", "last fall of the inertia"]


def of_mini_batches(codebook):
    """The same codebook as mini-batches would have fitted it."""
    clustering = ClusteringConfig(num_clusters=4, algorithm="minibatch")
    return replace(codebook, fit=replace(codebook.fit, clustering=clustering))


@pytest.mark.usefixtures("in_process")
def test_a_review_of_mini_batches_does_not_judge_their_rounds_as_updates(shards, codebook, tmp_path, caplog):
    board.review_codebook(shards, of_mini_batches(codebook), tmp_path)
    told = [record.getMessage().removeprefix(f"codebook {tmp_path}: ").partition(":")[0] for record in caplog.records]
    assert told == ["dead clusters", "label entropy"]


@pytest.mark.usefixtures("in_process")
def test_the_board_says_what_the_inertia_was_counted_after(shards, codebook, tmp_path):
    said = []
    for number, book in enumerate((codebook, of_mini_batches(codebook))):
        directory = write_codebook_board(shards, book, tmp_path / str(number))
        events = EventAccumulator(str(directory)).Reload()
        (event,) = events.Tensors("codebook/fit/text_summary")
        said.append(event.tensor_proto.string_val[0].decode())
    assert "after each update" in said[0]
    assert "each round" in said[1]
    assert "update" not in said[1]


@pytest.mark.usefixtures("in_process")
def test_frames_that_are_no_numbers_are_no_example(shards, codebook, monkeypatch):
    made = Semitone.__call__
    monkeypatch.setattr(Semitone, "__call__", lambda self, waveform: made(self, waveform) * np.nan)
    with pytest.raises(DataError, match=r"clip . of row group . in .*part-0000.\.parquet gives semitone frames .* NaN"):
        nearest_examples(shards, codebook, (0,))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_cluster_finds_the_examples_that_one_process_does(shards, codebook, monkeypatch):
    on_cluster = nearest_examples(shards, codebook, (0, 1, 2))
    monkeypatch.setattr(board, "run_tasks", lambda function, items, **_: enumerate(map(function, items)))
    alone = nearest_examples(shards, codebook, (0, 1, 2))
    assert [vars(e) | {"pcm": e.pcm.tobytes()} for e in on_cluster] == [
        vars(e) | {"pcm": e.pcm.tobytes()} for e in alone
    ]
