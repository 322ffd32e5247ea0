"""From audio to a report in one command: what the stages are handed, and one iteration after another."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ray_musicssl.config.loading import read_run_config
from ray_musicssl.on_ray import pipeline, run_targets
from ray_musicssl.on_ray.pipeline import Pipeline
from ray_musicssl.probing.embed import load_encoder
from ray_musicssl.run_dir import read_json

TINY = (
    *("encoder.num_layers=2", "encoder.dim=32", "encoder.ffn_dim=64", "encoder.num_heads=2", "encoder.conv_dim=16"),
    *("encoder.pos_conv_kernel=8", "audio.crop_s=0.5", "audio.batch_s=4", "audio.micro_batch_s=2"),
    *("clustering.num_clusters=6", "clustering.num_iterations=3", "training.precision=fp32", "training.max_steps=4"),
    *("training.checkpoint_every_steps=2", "scaling.num_workers=0", "scaling.use_gpu=false"),
)


@pytest.fixture
def audio(tmp_path):
    """Six recordings of noise whose loudness changes."""
    draws = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for number in range(6):
        waveform = draws.normal(size=3 * 16_000) * draws.uniform(0.01, 0.3, 30).repeat(1600)
        soundfile.write(tmp_path / f"audio/{number}.wav", waveform, 16_000)
    return tmp_path / "audio"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_each_iteration_learns_from_the_one_before_with_the_same_command(audio, tmp_path):
    out = tmp_path / "out"

    def run(preset, *overrides):
        job = Pipeline(audio=str(audio), out=out, presets=[preset], overrides=[*TINY, *overrides])
        assert job.run() == out / "report.html"
        return job.run_dirs[0]

    def iterate(encoder):
        return run("musichubert-k2000-iter2", f"feature.encoder={encoder}", "feature.layer=1")

    first = run("musichubert-k2000-mfcc39", "joint_features=[{name: residual}]")
    (two_stages,) = read_run_config(first).joint_features
    (mfcc_dir,) = out.glob("codebooks/mfcc-k6-*")
    (residual_dir,) = out.glob(f"codebooks/residual-{two_stages.codebook_hash[:8]}-k6-*")
    books = [read_json(directory / "codebook.json") for directory in (mfcc_dir, residual_dir)]
    assert (two_stages.codebook, two_stages.codebook_hash) == (str(mfcc_dir), books[0]["hash"])
    assert read_json(first / "started.json")["provenance"]["labels"] == [book["hash"] for book in books]
    assert books[1]["inertia"][-1] < books[0]["inertia"][-1]
    second = iterate(first)
    third = iterate(second)
    for before, after in ((first, second), (second, third)):
        weights = load_encoder(before).content_hash
        feature = read_run_config(after).feature
        assert (feature.name, feature.layer, feature.encoder_hash) == ("hidden", 1, weights)
        assert feature.encoder == str(before)
        assert after.name == f"musichubert-k2000-iter2-hidden1-{weights[:8]}"
        (codebook_dir,) = out.glob(f"codebooks/hidden1-{weights[:8]}-k6-*")
        codebook = read_json(codebook_dir / "codebook.json")
        assert (codebook["dim"], codebook["frame_rate"], codebook["feature"]) == (32, 50.0, feature.model_dump())
        assert read_json(after / "started.json")["provenance"]["labels"] == [codebook["hash"]]
    assert len(list((out / "shards/labels").iterdir())) == 4
    assert len({load_encoder(path).content_hash for path in (first, second, third)}) == 3

    # The same weights at another path: everything is done, and nothing is made again.
    newest = second / "checkpoints/step-00000004/manifest.json"
    before = newest.stat().st_mtime_ns
    assert iterate(first / "checkpoints/step-00000004") == second
    assert newest.stat().st_mtime_ns == before


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Replace the stages; gives the run directories and configurations that reach `pretrain`."""
    runs = {}
    places = dict.fromkeys(("prepare", "choose_labels", "embed_files"), pipeline) | {"fit_codebook": run_targets}
    for name, module in places.items():
        monkeypatch.setattr(module, name, lambda *_, **__: SimpleNamespace(hash="1a2b", labels_dir=tmp_path))
    monkeypatch.setattr(pipeline, "pretrain", lambda config, _, run_dir, **__: runs.update({run_dir.path.name: config}))
    monkeypatch.setattr(run_targets, "review_codebook", lambda *_: None)
    monkeypatch.setattr(pipeline, "label", lambda *_, **__: [])
    monkeypatch.setattr(pipeline, "session", nullcontext, raising=False)
    monkeypatch.setattr(pipeline, "write_report", lambda out: out / "report.html")
    return runs


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "suffix", "crop_s"), [("", "", 5.0), ("demo", "-demo", 1.0)])
def test_a_scale_reaches_every_run_and_its_directory(trained, tmp_path, scale, suffix, crop_s):
    presets = ("music2vec-crop5s", "musichubert-k500-mfcc39")
    report = Pipeline(audio="none", out=tmp_path, presets=presets, scale=scale).run()
    assert report == tmp_path / "report.html"
    assert list(trained) == [name + suffix for name in presets]
    assert {config.scale for config in trained.values()} == {scale}
    assert trained["music2vec-crop5s" + suffix].audio.crop_s == crop_s
