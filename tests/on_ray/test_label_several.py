"""Several codebooks in one pass over the audio: the same labels, nothing read or made twice."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import part_name
from ray_musicssl.clustering.label_set import open_labels
from ray_musicssl.clustering.usage import LONGEST_RUN
from ray_musicssl.config.feature import HiddenConfig, MfccConfig, ResidualConfig, SemitoneConfig
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.on_ray import label as stage
from ray_musicssl.on_ray.label import label
from ray_musicssl.probing.hidden_targets import resolve
from ray_musicssl.run_dir import read_json

MFCC = MfccConfig(num_coefficients=4)
pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def shards(twelve_clips):
    return twelve_clips


@pytest.fixture
def codebooks(shards, make_codebook, tmp_path):
    """Two sizes of MFCC, one of semitones, one of what the first leaves; the first one lies in `books/0`."""
    books = [
        make_codebook(shards, MFCC, 100.0),
        make_codebook(shards, MFCC, 100.0, 9),
        make_codebook(shards, SemitoneConfig(num_semitones=12), 50.0),
    ]
    books[0].save(tmp_path / "books/0")
    section = ResidualConfig(codebook=str(tmp_path / "books/0"), codebook_hash=books[0].hash)
    return [*books, make_codebook(shards, section, 100.0, 7)]


def part_bytes(directory):
    return [(directory / part_name(part)).read_bytes() for part in range(2)]


@pytest.fixture
def jobs(monkeypatch, run_here):
    """The part and the codebooks of every task that was run."""
    noted = []

    def noting(function, items, **_):
        noted.extend((item.part, [output.codebook_hash for output in item.outputs]) for item in items)
        return run_here(function, items)

    monkeypatch.setattr(stage, "run_tasks", noting)
    return noted


def test_together_they_give_what_each_gives_alone_in_one_task_a_part(shards, codebooks, jobs, tmp_path):
    alone = {}
    for book in codebooks:
        (directory,) = label(shards, [book])
        alone[book.hash] = (part_bytes(directory), (directory / "done-label.json").read_text())
    shards.labels_dir.rename(tmp_path / "alone")
    jobs.clear()
    directories = label(shards, codebooks)
    assert directories == [shards.labels_dir / book.hash for book in codebooks]
    assert jobs == [(part, [book.hash for book in codebooks]) for part in range(2)]
    for directory, book in zip(directories, codebooks, strict=True):
        assert (part_bytes(directory), (directory / "done-label.json").read_text()) == alone[book.hash]
        assert open_labels(shards, directory).num_clusters == book.num_clusters


def test_one_that_is_added_later_leaves_the_others_parts_alone(shards, codebooks, jobs):
    first, second = codebooks[:2]
    (directory,) = label(shards, [first])
    before = (directory / part_name(0)).stat().st_mtime_ns
    jobs.clear()
    label(shards, [first, second])
    assert jobs == [(0, [second.hash]), (1, [second.hash])]
    assert (directory / part_name(0)).stat().st_mtime_ns == before


def test_a_killed_pass_goes_on_for_each_codebook_where_it_was(shards, codebooks, jobs, monkeypatch):
    first, second, third = codebooks[:3]

    def killed_after_one(function, items, **_):
        yield 0, function(items[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_tasks", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            label(shards, [first, second])
    label(shards, [first, second, third])
    assert jobs == [(0, [third.hash]), (1, [first.hash, second.hash, third.hash])]


def test_the_same_codebook_twice_is_labelled_once(shards, codebooks, jobs):
    first, second = codebooks[:2]
    assert [path.name for path in label(shards, [first, second, replace(first)])] == [first.hash, second.hash]
    assert [hashes for _, hashes in jobs] == [[first.hash, second.hash]] * 2
    assert label(shards, []) == []


def test_one_bar_counts_the_clips_of_parts_that_lack_labels(shards, codebooks, monkeypatch):
    from ray_musicssl.progress import Meter, progress

    bars, starts = [], []
    monkeypatch.setattr(stage, "progress", lambda *words: bars.append(words) or progress(*words))
    monkeypatch.setattr(Meter, "start_from", lambda self, done: starts.append(done))
    (directory,) = label(shards, codebooks[:1])
    (directory / "done-label.json").unlink()
    (directory / part_name(1)).unlink()
    label(shards, codebooks[:1])
    label(shards, codebooks)
    assert bars == [("label", 12, "clips")] * 3
    assert starts == [0, 6, 0]


def test_what_is_counted_of_labels_is_what_they_are(shards, codebooks):
    (directory,) = label(shards, codebooks[:1])
    facts = read_json(directory / "done-label.json")
    clips = [clip for part in range(2) for clip in pq.read_table(directory / part_name(part))["labels"].to_pylist()]
    usage = np.bincount(np.concatenate(clips).astype(int), minlength=5)
    num_runs = sum(sum(a != b for a, b in zip(clip, [-1, *clip[:-1]], strict=True)) for clip in clips if clip)
    runs = facts["run_lengths"]
    assert (facts["usage"], facts["dead_clusters"]) == (usage.tolist(), (usage == 0).sum())
    assert (sum(runs), len(runs)) == (num_runs, LONGEST_RUN + 1)
    assert facts["mean_run_s"] == pytest.approx(usage.sum() / num_runs / 100)


def test_a_codebook_of_other_shards_is_said_with_both_hashes_and_taken(shards, make_codebook, capsys):
    label(shards, [make_codebook(shards, MFCC, 100.0, 6, parent="other")])
    said = " ".join(capsys.readouterr().err.split())
    assert "was fitted on the shards other and labels the shards twelve" in said
    label(shards, [make_codebook(shards, MFCC, 100.0, 7, parent="twelve")])
    assert "was fitted on" not in capsys.readouterr().err


def test_a_residual_whose_codebook_is_gone_is_labelled_beside_it_and_not_without_it(shards, codebooks, tmp_path):
    first, residual = codebooks[0], codebooks[3]
    (tmp_path / "books").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no codebook at .*books/0, .*\(`label`: give it as a --codebook too\)"):
        label(shards, [residual])
    directories = label(shards, [residual, first])
    assert (directories[0] / "base/codebook.json").exists()
    assert label(shards, [residual]) == directories[:1]  # once labelled, the other one is needed no more
    assert open_labels(shards, directories[0]).feature.identity == residual.feature.identity


def test_a_residual_that_does_not_fit_what_it_is_of_is_refused(shards, codebooks):
    wrong = replace(codebooks[3], frame_rate=50.0)
    with pytest.raises(
        DataError, match=rf"{wrong.hash} has 12 dimensions at 50.0 Hz, but its feature mfcc gives 12 at"
    ):
        label(shards, [wrong])


def test_an_encoder_reaches_the_residual_of_a_hidden_layer(
    shards, codebooks, make_codebook, whole_run_dir, tiny, tmp_path
):
    old = whole_run_dir / f"checkpoints/step-{tiny.num_steps:08d}"
    config = resolve(KmeansConfig(feature=HiddenConfig(encoder=str(old), layer=1)))
    hidden = make_codebook(shards, config.feature, 50.0)
    hidden.save(tmp_path / "books/hidden")
    section = ResidualConfig(codebook=str(tmp_path / "books/hidden"), codebook_hash=hidden.hash)
    residual = make_codebook(shards, section, 50.0)
    moved = config.feature.model_copy(update={"encoder": str(tmp_path / "lost")})
    replace(hidden, feature=moved).save(tmp_path / "books/hidden")
    with pytest.raises(DataError, match=r"no encoder at .*lost"):
        label(shards, [residual])
    label(shards, [residual], encoder=old)
    with pytest.raises(ConfigError, match="which needs no encoder"):
        label(shards, [codebooks[3]], encoder=old)
