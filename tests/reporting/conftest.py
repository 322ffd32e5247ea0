"""A directory as stages leave it: two runs, their twins and baselines on four tasks, codebooks, a ledger, timings."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

METRICS = {
    "giantsteps_key": ("weighted_score", "accuracy"),
    "gtzan_genre": ("accuracy",),
    "nsynth_pitch": ("accuracy",),
    "gtzan_rhythm": ("f1_20ms", "f1_70ms"),
}
# Headline scores in points, in the order of METRICS; like those of the miniature's measured table.
MODELS = {
    "musichubert-demo": (17, 76, 46, 85),
    "music2vec-demo": (14, 66, 54, 57),
    "random:musichubert-demo": (13, 35, 63, 50),
    "random:music2vec-demo": (21, 34, 90, 42),
    "mfcc": (10, 57, 23, 86),
    "mfcc+semitone": (93, 73, 98, 93),
}
GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def score(model: str, task: str, points: float, rng: np.random.Generator) -> dict:
    metrics = {}
    for metric in METRICS[task]:
        values = [points / 100 + offset for offset in rng.normal(0, 0.012, 3)]
        metrics[metric] = {"mean": float(np.mean(values)), "sd": float(np.std(values)), "values": values}
    layers = 1 if model.startswith("mfcc") else 5
    return {
        "task": task,
        "dataset": "GTZAN" if task.startswith("gtzan") else "NSynth" if "pitch" in task else "GiantSteps",
        "model": model,
        "encoder_hash": f"encoder of {model}",
        "config_hash": f"config-{task}",
        "metrics": metrics,
        "valid": metrics,
        "used": {"train": 110, "valid": 40, "test": 89},
        "expected": {"train": 110, "valid": 40, "test": 90},
        "skipped": {"undecodable": 1},
        "layer_weights": [1 / layers] * layers,
        "layers": layers,
        "details": _details(task, rng),
    }


def _details(task: str, rng: np.random.Generator) -> dict:
    if task == "gtzan_genre":
        matrix = rng.poisson(0.3, (10, 10)) + np.diag(rng.integers(4, 9, 10))
        return {"confusion": {"classes": GENRES, "matrix": matrix.tolist()}}
    if task == "giantsteps_key":
        names = [
            f"{tonic} {mode}"
            for mode in ("major", "minor")
            for tonic in ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
        ]
        return {"confusion": {"classes": names, "matrix": rng.poisson(0.3, (24, 24)).tolist()}}
    if task == "gtzan_rhythm":
        times = np.arange(400) / 50
        peaks = np.exp(-0.5 * ((times % 0.5) / 0.025) ** 2) * 0.8 + rng.uniform(0, 0.12, 400)
        reference = np.arange(0.5, 8, 0.5)
        return {
            "beats": {
                "activation": peaks.tolist(),
                "frame_rate": 50,
                "reference": reference.tolist(),
                "decoded": (reference + 0.01)[:-1].tolist(),
            }
        }
    return {}


def write_run(path: Path, preset: str, log: list[dict], **config: object) -> None:
    path.mkdir(parents=True, exist_ok=True)
    encoder = {"num_layers": 4, "dim": 128, "num_heads": 4}
    base = {"preset": preset, "encoder": encoder, "training": {"max_steps": 2000}}
    (path / "config.yaml").write_text(yaml.safe_dump({**base, "objective": {"name": "musichubert"}, **config}))
    (path / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    write_json(path / "done-pretrain.json", {"stage": "pretrain", "versions": {"torch": "2.11.0", "ray": "2.60.0"}})


def write_checkpoint(run_dir: Path, step: int, sha256: str) -> None:
    manifest = {"model.safetensors": {"size": 1, "sha256": sha256}}
    write_json(run_dir / "checkpoints" / f"step-{step:08d}" / "manifest.json", manifest)


def hubert_log(rng: np.random.Generator, end: float = 7.6) -> list[dict]:
    log = []
    for step in range(10, 2001, 10):
        loss = end + (9.2 - end) * math.exp(-step / 500) + rng.normal(0, 0.05)
        log.append(
            {
                "step": step,
                "pretrain/loss": 2 * loss,
                "pretrain/masked_loss": loss,
                "pretrain/unmasked_loss": loss - 0.3,
                "pretrain/label_entropy": 8.82,
                "pretrain/masked_accuracy": 0.25 * (1 - math.exp(-step / 800)),
                "pretrain/unmasked_accuracy": 0.32 * (1 - math.exp(-step / 800)),
                "optim/lr": 1e-3 * (1 - step / 2000),
                "pretrain/grad_norm": 1 + rng.uniform(0, 0.4),
                "data/audio_hours": step * 10 / 3600,
                "data/audio_s_per_s": 90 + rng.normal(0, 3),
                "sys/rss_gib": 1.1,
                "sys/elapsed_s": step * 0.108,
            }
        )
    return log


def music2vec_log(rng: np.random.Generator) -> list[dict]:
    return [
        {
            "step": step,
            "pretrain/loss": 3 * math.exp(-step / 60) + 1.8 * (1 - math.exp(-step / 700)) + rng.normal(0, 0.04),
            "pretrain/target_std": 0.62 + 0.0001 * step,
            "pretrain/prediction_std": 0.5 * (1 - math.exp(-step / 200)),
            "pretrain/ema_decay": 0.99 + 0.009 * min(1, step / 500),
            "optim/lr": 1e-3,
            "data/audio_hours": step * 10 / 3600,
            "sys/elapsed_s": step * 0.13,
        }
        for step in range(10, 1001, 10)
    ]


def write_codebook(path: Path, feature: str, rng: np.random.Generator) -> None:
    usage = rng.dirichlet(np.full(100, 2.0)) * 360_000
    shares = usage / usage.sum()
    facts = {
        "feature": {"name": feature},
        "num_clusters": 100,
        "num_frames": 360_000,
        "inertia": [4e7 * (1 + math.exp(-k / 4)) for k in range(25)],
        "usage": [int(count) for count in usage],
        "entropy_nats": float(-(shares * np.log(shares)).sum()),
        "dead_clusters": 0,
        "hash": feature,
    }
    write_json(path / "codebook.json", facts)


def write_labels(path: Path, codebook_hash: str) -> None:
    """Labels of 100 clusters at 100 Hz, 3 frames a run, held against the truth of 120 songs."""
    facts = {"codebook_hash": codebook_hash, "frame_rate": 100.0, "usage": [3000] * 100}
    write_json(path / "done-label.json", facts | {"run_lengths": [0, 50_000, 20_000, *[500] * 59, 500]})
    names = ("num_frames", "num_classes", "class_purity", "cluster_purity", "nmi", "pnmi")

    def measures(purity: float, pnmi: float) -> dict:
        return dict(zip(names, (300_000, 5, purity, 0.2, 0.55, pnmi), strict=True))

    def kind(name: str, about: str, pnmi: float, other: float | None) -> dict:
        other_song = None if other is None else measures(0.4, other)
        found = {"kind": name, "about": about, "labels": measures(0.6, pnmi)}
        return found | {"shuffled": measures(0.3, 0.05), "other_song": other_song}

    truth = [kind("note", "pitch", 0.6, 0.1), kind("key", "key", 0.4, 0.4), kind("genre", "style", 0.4, None)]
    write_json(path / "quality.json", {"codebook_hash": codebook_hash, "num_songs": 120, "truth": truth})


def write_shards(path: Path) -> None:
    write_json(path / "done-prepare.json", {"stage": "prepare", "num_files": 123, "num_clips": 120, "seconds": 3600.0})
    status = ["used"] * 119 + ["partial"] + ["rejected"] * 3
    reason = [""] * 119 + ["stream ends early", "empty file", "empty file", "not audio"]
    pq.write_table(pa.table({"path": [""] * 123, "status": status, "reason": reason}), path / "ledger.parquet")


def write_scores(root: Path, models: dict[str, tuple[float, ...]], rng: np.random.Generator) -> None:
    for k, (model, points) in enumerate(models.items()):
        is_trained = (root / "runs" / model).exists()
        scores_dir = root / "runs" / model / "scores" if is_trained else root / "probes" / str(k) / "scores"
        for task, value in zip(METRICS, points, strict=True):
            write_json(scores_dir / f"{task}.json", score(model, task, value, rng))


def build(root: Path) -> Path:
    rng = np.random.default_rng(7)
    write_run(root / "runs" / "musichubert-demo", "musichubert-demo", hubert_log(rng))
    music2vec = {"objective": {"name": "music2vec", "top_k": 3}, "training": {"max_steps": 1000}}
    write_run(root / "runs" / "music2vec-demo", "music2vec-demo", music2vec_log(rng), **music2vec)
    write_scores(root, MODELS, rng)
    for feature in ("mfcc", "semitone"):
        write_codebook(root / f"codebook-{feature}", feature, rng)
    write_shards(root / "shards")
    write_json(root / "data" / "done-demo-data.json", {"stage": "demo-data"})
    stages = {"demo-data": 48, "prepare": 6, "kmeans": 11, "label": 7, "pretrain": 214, "probe": 71, "report": 4}
    write_json(
        root / "timings.json",
        {
            "stages": [{"stage": s, "seconds": v, "peak_rss_gib": 1.2} for s, v in stages.items()],
            "machine": {"cpu": "two cores", "memory_gib": 8},
        },
    )
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return build(tmp_path / "demo-run")
