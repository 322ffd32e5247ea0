"""Table 1 in miniature: all 13 tasks, for encoders trained on music and on speech, untrained ones and hand-made features.

    python -m benchmarks.table1 --out OUT --speech /usr/share/klettres    # over an hour on 2 cores; a re-run goes on

Conventions:
    Encoders of one size and budget a seed: MusicHuBERT and Music2Vec on the demo's music, at the `small` budget also one
    with both losses, and MusicHuBERT on recorded speech (any folder of recordings, such as Debian's `klettres-data`;
    without one that row is left out).
    Recordings shorter than a crop teach nothing, so all of a folder are joined, by path, into files of half a minute.
    Probe sets are of the size `--sets`, larger than the demo's, so that their own noise is smaller.
    `OUT/report.html`, `results.md` and `table1.csv` hold the table; a row is the mean over pre-training seeds.
"""

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import soundfile
import soxr

from benchmarks.command import musicssl, run_all
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.config.probe import WindowStatistics
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.run_dir import read_json, write_json

BUDGETS = ("demo", "small")
BASELINES = ("mfcc", "chroma", "mfcc+semitone")
RECORDING_S = 30.0
SAMPLE_RATE = 16_000
SUFFIXES = (".ogg", ".wav", ".flac", ".mp3")
# As in the demo: small sets, so that smaller batches give a probe about as many steps as the official sets do.
RECIPE = ("batch_size=16", "beat_max_epochs=6")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Where everything lies and how much of it there is."""

    out: Path
    budget: str
    sets: str
    seeds: tuple[int, ...]
    speech: Path | None

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        """Each trained row's preset and what it is trained on."""
        rows = {
            "musichubert": (f"musichubert-{self.budget}", "music"),
            "music2vec": (f"music2vec-{self.budget}", "music"),
        }
        if self.budget == "small":
            rows["joint"] = ("joint-small", "music")
        return rows | ({"speech": (f"musichubert-{self.budget}", "speech")} if self.speech else {})

    def runs(self) -> Iterator[tuple[str, int]]:
        """Every run, all rows of one seed before the next seed."""
        for seed in self.seeds:
            for row in self.rows:
                yield row, seed

    def run_dir(self, row: str, seed: int) -> Path:
        """One pre-training run."""
        return self.out / "runs" / f"{row}-s{seed}"


def main() -> None:
    """Run what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--speech", type=Path, help="a folder of recorded speech")
    parser.add_argument("--budget", choices=BUDGETS, default="demo", help="size of encoders, training and pool")
    parser.add_argument("--sets", default="small", help="size of the probe sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="pre-training seeds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    given = parser.parse_args()
    study = Study(out=given.out, budget=given.budget, sets=given.sets, seeds=tuple(given.seeds), speech=given.speech)
    make_pools(study)
    run_all((partial(pretrain, study, row, seed) for row, seed in study.runs()), given.jobs)
    probe(study)
    musicssl("report", study.out)


def make_pools(study: Study) -> None:
    """Music and speech as shards with labels, and the probe sets."""
    musicssl("demo-data", study.out / "music", "--preset", study.budget, "--sets", "pool")
    sets = "gtzan,giantsteps,nsynth,emomusic,magnatagatune,vocalset,mtg_jamendo"
    musicssl("demo-data", study.out / "data", "--preset", study.sets, "--sets", sets)
    pools = {"music": study.out / "music" / "pool"}
    if study.speech:
        pools["speech"] = join_recordings(study.speech, study.out / "speech")
    for name, pool in pools.items():
        shards, preset = study.out / f"shards-{name}", f"musichubert-{study.budget}"
        musicssl("prepare", "--audio", pool, "--out", shards)
        codebooks = []
        for feature in load_config(PretrainConfig, preset=preset).target_features:
            codebook = study.out / "codebooks" / f"{name}-{feature.name}"
            musicssl(
                "kmeans",
                "--shards",
                shards,
                "--out",
                codebook,
                "--preset",
                preset,
                f"feature={feature.model_dump_json()}",
            )
            codebooks += ["--codebook", codebook]
        musicssl("label", "--shards", shards, *codebooks)


def join_recordings(source: Path, out: Path) -> Path:
    """Write the recordings under a folder one after another, in the order of their paths, as files of equal length.

    A JSON file beside `out` says of what it was made.

    Raises:
        ConfigError: if `out` was made from other recordings.
        DataError: if there are no recordings, or less than one file's worth.
    """
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    made_from_path = out.with_name(f"{out.name}.json")
    made_from = {
        "folder": str(source.resolve()),
        "recordings": [[str(path.relative_to(source)), path.stat().st_size] for path in paths],
    }
    if out.exists():
        known = read_json(made_from_path) if made_from_path.exists() else made_from  # none: of an earlier version
        if known["recordings"] != made_from["recordings"]:
            raise ConfigError(
                f"{out} was made from {len(known['recordings'])} recordings in {known['folder']}, and {source} holds others "
                f"({len(paths)}); give that folder as it was, or another --out"
            )
        return out
    waves = []
    for path in paths:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        waves.append(soxr.resample(wave.mean(axis=1), rate, SAMPLE_RATE, quality="HQ"))
    joined, length = np.concatenate([np.zeros(0, np.float32), *waves]), round(RECORDING_S * SAMPLE_RATE)
    if len(joined) < length:
        raise DataError(
            f"{source} holds {len(paths)} recordings ({', '.join(SUFFIXES)}) of {len(joined) / SAMPLE_RATE:.1f} s in all; at "
            f"least {RECORDING_S:g} s are needed: name another folder as --speech, or leave it out"
        )
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a killed call, perhaps from other recordings
    unfinished.mkdir(parents=True)
    for number in range(len(joined) // length):
        part = joined[number * length : (number + 1) * length]
        soundfile.write(unfinished / f"{number:04d}.wav", part, SAMPLE_RATE, subtype="PCM_16")
    write_json(made_from_path, made_from)
    unfinished.rename(out)
    return out


def pretrain(study: Study, row: str, seed: int) -> None:
    """One run on one core, in one process: small encoders gain nothing from workers of their own."""
    preset, pool = study.rows[row]
    where = ("--shards", study.out / f"shards-{pool}", "--run-dir", study.run_dir(row, seed))
    musicssl("pretrain", preset, *where, f"training.seed={seed}", "scaling.num_workers=0")


def probe(study: Study) -> None:
    """Every run, the untrained twins of those on music, and the hand-made features; on either statistics."""
    runs = [study.run_dir(row, seed) for row, seed in study.runs()]
    untrained = [f"random:{study.run_dir(row, seed)}" for row, seed in study.runs() if study.rows[row][1] == "music"]
    places = ["--data", study.out / "data" / "datasets", "--out", study.out / "baselines"]
    cache = ["--cache", study.out / "features"]
    for statistics in get_args(
        WindowStatistics
    ):  # of hand-made features both in either call: the second finds them done
        recipe = [word for setting in (*RECIPE, f"statistics={statistics}") for word in ("--set", setting)]
        musicssl("probe", *runs, *untrained, *BASELINES, "--tasks", "all", *places, *cache, *recipe)


if __name__ == "__main__":
    main()
