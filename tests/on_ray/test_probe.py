"""The whole probe stage on a few files, with hand-made features."""

import numpy as np
import pytest
import soundfile

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.probing.results import read_score

GENRES = {"blues": 220.0, "rock": 3000.0}
COUNTS = {"train": 4, "valid": 2, "test": 2}
CONFIG = ProbeConfig(hidden_dim=16, lr=1e-2, max_epochs=8, beat_max_epochs=1, num_seeds=2)


@pytest.fixture
def gtzan_dir(tmp_path):
    """Two genres that sound apart; a click every half second; one test track is no audio."""
    root = tmp_path / "gtzan"
    rng = np.random.default_rng(0)
    number = 0
    for split, count in COUNTS.items():
        lines = []
        for genre, hertz in GENRES.items():
            for _ in range(count):
                name = f"{genre}.{number:05d}"
                time_s = np.arange(3 * 8000) / 8000
                audio = 0.2 * np.sin(2 * np.pi * hertz * time_s) * (1 + 3 * (time_s % 0.5 < 0.03))
                path = root / "genres" / genre / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, audio + 0.01 * rng.standard_normal(len(audio)), 8000)
                beats_path = root / "beats" / f"gtzan_{genre}_{number:05d}.beats"
                beats_path.parent.mkdir(exist_ok=True)
                beats_path.write_text("".join(f"{beat:.3f}\n" for beat in np.arange(0, 3, 0.5)))
                lines.append(f"{genre}/{name}.wav\n")
                number += 1
        (root / f"{split}_filtered.txt").write_text("".join(lines))
    path.write_bytes(b"no audio")
    return root


@pytest.mark.ray
def test_probe_scores_every_encoder_on_every_task_and_repeats_nothing(gtzan_dir, tmp_path, cluster):
    tasks = ["gtzan_genre", "gtzan_rhythm"]
    outs, cache_dir = [tmp_path / "a", tmp_path / "b"], tmp_path / "cache"

    def run():
        return probe(["mfcc", "mfcc+semitone"], gtzan_dir, tasks, outs, CONFIG, cache_dir=cache_dir)

    def written():
        return {
            path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in {".json", ".safetensors"}
        }

    scores = run()
    assert [(score.model, score.task) for score in scores] == [
        (model, task) for model in ("mfcc", "mfcc+semitone") for task in tasks
    ]
    kept = [read_score(path) for path in tmp_path.rglob("scores/*.json")]
    assert sorted(kept, key=lambda score: (score.model, score.task)) == scores
    for score in scores:
        assert score.used == {"train": 8, "valid": 4, "test": 3}
        assert score.expected == {"train": 8, "valid": 4, "test": 4}
        assert score.skipped == {"undecodable": 1}
        assert all(len(entry.values) == 2 for entry in (*score.metrics.values(), *score.valid.values()))
        assert score.layer_weights == [1.0]
    assert scores[0].metrics["accuracy"].mean == 1.0
    assert np.sum(scores[0].details["confusion"]["matrix"]) == 3
    assert len(scores[1].details["beats"]["activation"]) == 149  # 3 s

    before = written()
    assert run() == scores
    skipped_paths = {path for path in before if "skipped" in path.parts}
    assert {path for path, time in written().items() if before.get(path) != time} <= skipped_paths

    # What a killed command leaves behind: some chunks, some scores. The next one gives the same bytes.
    chunk_path = min(cache_dir.rglob("chunk-00000.safetensors"))
    score_path = outs[0] / "scores" / "gtzan_genre.json"
    kept = {path: path.read_bytes() for path in (chunk_path, score_path)}
    for folder in outs:
        for path in (folder / "scores").glob("*.json"):
            path.unlink()
    chunk_path.unlink()
    assert run() == scores
    assert {path: path.read_bytes() for path in kept} == kept


def test_strict_refuses_what_cannot_be_used_before_anything_starts(gtzan_dir, tmp_path):
    with pytest.raises(DataError, match="1 undecodable"):
        probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "cache", strict=True)


@pytest.mark.parametrize(
    ("specs", "tasks", "message"),
    [
        (["mfcc", "mfcc"], ["gtzan_genre"], "one for each"),
        (["mfcc"], ["gtzan_genres"], 'did you mean "gtzan_genre"'),
        (["nonsense"], ["gtzan_genre"], "cannot be probed"),
    ],
)
def test_wrong_words_are_refused_before_anything_starts(gtzan_dir, tmp_path, specs, tasks, message):
    with pytest.raises(ConfigError, match=message):
        probe(specs, gtzan_dir, tasks, [tmp_path], CONFIG, cache_dir=tmp_path / "cache")
