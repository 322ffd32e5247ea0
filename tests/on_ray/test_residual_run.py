"""Two stages of residual k-means, from labels to a model with two heads."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import pcm_views
from ray_musicssl.audio.writer import sidecar_path
from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.clustering.lloyd import fit
from ray_musicssl.clustering.seeding import kmeans_plus_plus
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import MfccConfig, ResidualConfig
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.features.base import clip_frames, make_feature
from ray_musicssl.on_ray.label import label
from ray_musicssl.on_ray.pretrain import pretrain
from ray_musicssl.run_dir import RunDir, read_json, sha256_file, write_json
from ray_musicssl.training.label_choice import choose_labels
from ray_musicssl.training.metrics_log import read_metrics

TINY = (
    *("encoder.num_layers=1", "encoder.dim=16", "encoder.ffn_dim=32", "encoder.num_heads=2", "encoder.conv_dim=8"),
    *("encoder.pos_conv_kernel=8", "encoder.pos_conv_groups=2", "audio.crop_s=0.5", "audio.batch_s=2"),
    *("audio.micro_batch_s=1", "clustering.num_clusters=6", "training.precision=fp32", "training.max_steps=2"),
    *("training.log_every_steps=1", "scaling.num_workers=0"),
)


@pytest.fixture
def shards(make_shards, tmp_path):
    made = make_shards(tmp_path / "shards", seconds=[1.0] * 8)
    for part in made.parts():
        write_json(sidecar_path(made.path, part), {"sha256": sha256_file(made.part_path(part))})
    return made


def fitted(shards, feature, directory):
    made = make_feature(feature)
    tables = [pq.read_table(shards.part_path(part)) for part in shards.parts()]
    frames = np.concatenate([clip_frames(made, pcm) for table in tables for pcm in pcm_views(table["pcm"])])
    found = fit(frames, kmeans_plus_plus(frames, 6, seed=0), num_iterations=3)
    record = FitRecord(
        parent=shards.content_hash,
        clustering=ClusteringConfig(num_clusters=6),
        num_frames=len(frames),
        inertia=found.history,
        usage=tuple(found.counts.tolist()),
    )
    book = Codebook(found.centroids, feature, 100.0, record)
    book.save(directory)
    return book


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_a_model_learns_both_stages_and_the_run_goes_on_when_the_codebooks_have_moved(shards, tmp_path):
    home = tmp_path / "books"
    first = fitted(shards, MfccConfig(), home / "a")
    second = fitted(shards, ResidualConfig(codebook=str(home / "a"), codebook_hash=first.hash), home / "b")
    label(shards, [first, second])

    def train(codebook, steps):
        joint = f"joint_features=[{{name: residual, codebook: {codebook}, codebook_hash: {first.hash}}}]"
        overrides = [*TINY, "feature.name=mfcc", joint, f"training.checkpoint_every_steps={steps}"]
        config = load_config(PretrainConfig, preset="musichubert-demo", overrides=overrides)
        return pretrain(config, shards, RunDir(tmp_path / "run"), labels=choose_labels(config, shards))

    assert train(home / "a", 1).step == 2
    provenance = read_json(tmp_path / "run/started.json")["provenance"]
    assert provenance["labels"] == [first.hash, second.hash]
    lines = read_metrics(tmp_path / "run/metrics.jsonl")
    # Untrained heads of 6 and 6 classes: the losses of both are added.
    assert 2 * np.log(6) * 0.5 < lines[0]["pretrain/masked_loss"] < 2 * np.log(6) * 2
    home.rename(tmp_path / "moved")
    assert train(tmp_path / "moved/a", 2).step == 2  # the same run, done already: nothing is refused
