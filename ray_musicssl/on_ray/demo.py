"""The demo: the whole road on music made here, in minutes, without data or network."""

from pathlib import Path

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.demo.corpus import plan
from ray_musicssl.on_ray.demo_data import make_demo_data
from ray_musicssl.on_ray.pipeline import Pipeline
from ray_musicssl.run_dir import write_text
from ray_musicssl.stopwatch import Stopwatch
from ray_musicssl.tasks.base import TASKS

PRESETS = ("musichubert-demo", "music2vec-demo")
# Small data sets: smaller batches give a probe about as many steps as the official sets do.
PROBE = ProbeConfig(num_seeds=2, batch_size=16, beat_max_epochs=6)
NUM_EMBEDDED = 3  # songs of the pool that are embedded: enough to see that it works


def run_demo(out: Path, *, preset: str = "demo", seed: int = 0, overrides: tuple[str, ...] = ()) -> Path:
    """Make a corpus, train both objectives on it, probe them beside their baselines; give the report's path.

    Args:
        out: where everything goes; a re-run skips what is done.
        preset: size of the corpus.
        seed: of the corpus.
        overrides: settings of both runs.
    """
    data_dir = out / "data"
    with Stopwatch(out / "timings.json").stage("demo-data"):
        make_demo_data(data_dir, preset=preset, seed=seed)
    songs = plan(preset, seed).jobs_of("pool")[:NUM_EMBEDDED]
    embedded_path = out / "embedded.csv"
    write_text(embedded_path, "\n".join(["path", *(f"{data_dir.name}/{song.path}" for song in songs)]) + "\n")
    return Pipeline(
        audio=str(data_dir / "pool"),
        out=out,
        presets=PRESETS,
        overrides=overrides,
        data_dir=data_dir / "datasets",
        tasks=tuple(TASKS),
        probe_config=PROBE,
        embed_audio=str(embedded_path),
    ).run()
