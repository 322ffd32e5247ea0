"""Which targets teach what: one encoder trained on each set of targets at the same budget, and probed.

    python -m benchmarks.targets --out OUT     # two hours on 2 cores at the default budget; a re-run goes on where it stopped

Conventions:
    A row is a set of targets: `a,b` are two codebooks with a head each, `a+b` is one codebook of both features side by side.
    Every row has the settings of `musichubert-demo` but for its targets (its own are `cqt`). A score is the mean over
    pre-training seeds of the mean over probe seeds; its spread is the standard deviation over pre-training seeds.
    The set of targets is to be chosen on the validation columns; the test columns are for showing.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.command import musicssl, run_all
from ray_musicssl.probing.sources import scores_home

PRESET = "musichubert-demo"
TARGETS = (
    "mfcc",
    "chroma",
    "semitone",
    "cqt",
    "mfcc,semitone",
    "mfcc,chroma",
    "mfcc,cqt",
    "mfcc,semitone,chroma",
    "mfcc+semitone",
    "cqt,chroma",
)
BASELINES = ("mfcc", "mfcc+semitone")
# Task and metric of each column.
COLUMNS = {
    "key": ("giantsteps_key", "weighted_score"),
    "pitch": ("nsynth_pitch", "accuracy"),
    "genre": ("gtzan_genre", "accuracy"),
    "beats": ("gtzan_rhythm", "f1_20ms"),
    "arousal": ("emomusic", "r2_arousal"),
    "valence": ("emomusic", "r2_valence"),
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Where everything lies and how much of it there is."""

    out: Path
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    corpus: str
    overrides: tuple[str, ...]

    @property
    def shards(self) -> Path:
        """The pool's clips."""
        return self.out / "shards"

    def run_dir(self, targets: str, seed: int) -> Path:
        """One pre-training run."""
        return self.out / "runs" / f"{targets.replace(',', '_')}-s{seed}"

    def runs(self) -> Iterator[tuple[str, int]]:
        """Every run, all targets of one seed before the next seed."""
        for seed in self.seeds:
            for targets in self.targets:
                yield targets, seed


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), help="sets of targets, such as mfcc,chroma")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="pre-training seeds")
    parser.add_argument("--corpus", default="demo", help="size of the demo corpus")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    parser.add_argument("--table-only", action="store_true", help="run nothing; show what is there")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every run, after `--`")
    given = parser.parse_args()
    study = Study(
        out=given.out,
        targets=tuple(given.targets),
        seeds=tuple(given.seeds),
        corpus=given.corpus,
        overrides=tuple(given.overrides),
    )
    if not given.table_only:
        prepare(study)
        run_all((partial(pretrain, study, *run) for run in study.runs()), given.jobs)
        probe(study)
    for part in ("valid", "metrics"):
        print(f"\n{'Validation' if part == 'valid' else 'Test'}, x 100\n")
        print("\n".join(table(study, part)))


def features_of(targets: str) -> list[str]:
    """The features of a set of targets, one a codebook."""
    return targets.split(",")


def prepare(study: Study) -> None:
    """Corpus, shards, codebooks and labels."""
    musicssl("demo-data", study.out / "data", "--preset", study.corpus)
    musicssl("prepare", "--audio", study.out / "data" / "pool", "--out", study.shards)
    features = dict.fromkeys(feature for targets in study.targets for feature in features_of(targets))
    for feature in features:
        where = ("--shards", study.shards)
        codebook = study.out / "codebooks" / feature
        musicssl("kmeans", *where, "--out", codebook, "--preset", PRESET, f"feature.name={feature}")
        musicssl("label", *where, "--codebook", codebook)


def pretrain(study: Study, targets: str, seed: int) -> None:
    """One run on one core."""
    run_dir = study.run_dir(targets, seed)
    first, *others = features_of(targets)
    joint = ", ".join(f"{{name: {feature}}}" for feature in others)
    settings = [f"feature.name={first}", f"joint_features=[{joint}]", f"training.seed={seed}", "scaling.num_workers=1"]
    musicssl("pretrain", PRESET, "--shards", study.shards, "--run-dir", run_dir, *settings, *study.overrides)


def probe(study: Study) -> None:
    """Every run, the untrained encoder of each seed's first run, and the hand-made features."""
    runs = [study.run_dir(targets, seed) for targets, seed in study.runs()]
    untrained = [f"random:{study.run_dir(study.targets[0], seed)}" for seed in study.seeds]
    tasks = ",".join(dict.fromkeys(task for task, _ in COLUMNS.values()))
    recipe = [word for setting in ("batch_size=16", "beat_max_epochs=6") for word in ("--set", setting)]
    places = ["--data", study.out / "data" / "datasets", "--out", study.out / "baselines"]
    cache = ["--cache", study.out / "features"]
    musicssl("probe", *runs, *untrained, *BASELINES, "--tasks", tasks, *places, *cache, *recipe)


def table(study: Study, part: str) -> list[str]:
    """A Markdown table of all rows, best of each column among the trained ones in bold."""
    homes = study.out / "baselines"
    rows: dict[str, list[Path]] = {
        targets: [study.run_dir(targets, seed) for seed in study.seeds] for targets in study.targets
    }
    first = study.targets[0]
    rows["untrained"] = [scores_home(f"random:{study.run_dir(first, seed)}", homes) for seed in study.seeds]
    rows |= {f"{name} (hand-made)": [scores_home(name, homes)] for name in BASELINES}
    scores = {name: [_spread(paths, part, *COLUMNS[column]) for column in COLUMNS] for name, paths in rows.items()}
    trained = [scores[targets] for targets in study.targets]
    best = [max((cell for row in trained if (cell := row[i])), default=None) for i in range(len(COLUMNS))]
    lines = [f"| targets | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, cells in scores.items():
        shown = (_cell(cell, is_best=name in study.targets and cell == best[i]) for i, cell in enumerate(cells))
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def _spread(homes: Sequence[Path], part: str, task: str, metric: str) -> tuple[float, float, int] | None:
    """Mean and standard deviation over pre-training seeds, and how many there were."""
    paths = [home / "scores" / f"{task}.json" for home in homes]
    values = [100 * json.loads(path.read_text())[part][metric]["mean"] for path in paths if path.exists()]
    return (statistics.mean(values), statistics.pstdev(values), len(values)) if values else None


def _cell(cell: tuple[float, float, int] | None, *, is_best: bool) -> str:
    if cell is None:
        return "-"
    mean, spread, count = cell
    text = f"{mean:.1f} ± {spread:.1f}" if count > 1 else f"{mean:.1f}"
    return f"**{text}**" if is_best else text


if __name__ == "__main__":
    main()
