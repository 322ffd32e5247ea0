"""One command a stage."""

from pathlib import Path
from typing import Annotated

import typer

from ray_musicssl.commands.options import (
    Audio,
    BadFraction,
    Fresh,
    Out,
    Overrides,
    Preset,
    Scale,
    ShardsDir,
    SplitLists,
    Tasks,
    say_where,
)
from ray_musicssl.errors import ConfigError

_PROBED = "Runs, checkpoints, Hugging Face folders, `random:` and any of these, `mfcc`, `chroma`, `mfcc+semitone`."


def demo(
    out: Out = Path("demo-run"),
    size: Annotated[str, typer.Option(help="Size of the corpus: tiny, demo, small or full.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of the corpus.")] = 0,
    overrides: Overrides = None,
) -> None:
    """See the whole road in minutes: make music, train both objectives, probe them, write a report."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.pretrain import PretrainConfig
    from ray_musicssl.demo.corpus import plan
    from ray_musicssl.on_ray.demo import PRESETS, run_demo
    from ray_musicssl.on_ray.session import session

    plan(size, seed)  # a wrong size or setting stops here, before a cluster starts
    for name in PRESETS:
        load_config(PretrainConfig, preset=name, overrides=overrides or ())
    with session():
        report_path = run_demo(out, preset=size, seed=seed, overrides=tuple(overrides or ()))
    say_where(report_path)
    print(f"curves: tensorboard --logdir {out}")


def demo_data(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    preset: Annotated[str, typer.Option(help="Size: tiny, demo, small or full.")] = "demo",
    seed: int = 0,
    sets: Annotated[str, typer.Option(help="all, or names with commas: pool, gtzan, vocalset, ...")] = "all",
) -> None:
    """Make the demo's music: a pre-training pool and miniature data sets in their official layouts."""
    from ray_musicssl.demo.corpus import choose_sets
    from ray_musicssl.demo.presets import PRESETS
    from ray_musicssl.on_ray.demo_data import make_demo_data

    made = make_demo_data(out, preset=preset, seed=seed, sets=choose_sets(sets))
    if sets == "all":
        print(PRESETS[preset].about)
    say_where(made)


def prepare(
    audio: Audio, out: Out, max_bad_fraction: BadFraction = 0.05, fresh: Fresh = False, overrides: Overrides = None
) -> None:
    """Turn audio files into shards of 16 kHz mono clips, with a ledger of every file."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.prepare import PrepareConfig

    config = load_config(PrepareConfig, overrides=overrides or ())
    from ray_musicssl.on_ray.prepare import prepare as run

    shards = run(audio, out, config, max_bad_fraction=max_bad_fraction, fresh=fresh)
    print(f"{shards.num_clips} clips, {shards.seconds / 3600:.2f} h; every input file is in {out / 'ledger.parquet'}")
    say_where(out)


def kmeans(shards: ShardsDir, out: Out, preset: Preset = "", scale: Scale = "", overrides: Overrides = None) -> None:
    """Fit a codebook on a target feature of the clips."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.pretrain import KmeansConfig

    config = load_config(KmeansConfig, preset=preset, scale=scale, overrides=overrides or ())
    config.check_encoders()
    from ray_musicssl.audio.shard import open_shards
    from ray_musicssl.on_ray.codebook_board import review_codebook
    from ray_musicssl.on_ray.kmeans import fit_codebook
    from ray_musicssl.on_ray.session import one_cluster

    opened = open_shards(shards)
    with one_cluster():
        codebook = fit_codebook(opened, out, config)
        print(f"codebook {codebook.hash}: {codebook.num_clusters} clusters of {config.feature.slug}")
        review_codebook(opened, codebook, out)
    print(f"examples: tensorboard --logdir {out}")
    say_where(out)


def label(
    shards: ShardsDir,
    codebook: Annotated[list[Path], typer.Option(help="What `kmeans` wrote; once for each codebook.")],
    encoder: Annotated[
        Path | None, typer.Option(help="Where the encoder of hidden features lies, if it moved since `kmeans`.")
    ] = None,
) -> None:
    """Label every frame of the clips with its cluster; several codebooks share one pass over the audio."""
    from ray_musicssl.audio.shard import open_shards
    from ray_musicssl.clustering.chain import open_codebook
    from ray_musicssl.on_ray.judge import review_labels
    from ray_musicssl.on_ray.label import label as run
    from ray_musicssl.on_ray.session import one_cluster

    opened = open_shards(shards)
    with one_cluster():
        for directory in run(opened, [open_codebook(path) for path in codebook], encoder=encoder):
            review_labels(opened, directory)
            say_where(directory)


def pretrain(
    preset: Annotated[str, typer.Argument(help="A preset; `musicssl presets` lists them.")],
    shards: ShardsDir,
    run_dir: Annotated[Path, typer.Option(help="The run; the same command on it goes on.")],
    labels: Annotated[list[Path] | None, typer.Option(help="Label directory; once for each label set.")] = None,
    init_from: Annotated[str, typer.Option(help="Begin with this encoder: a run or a Hugging Face folder.")] = "",
    scale: Scale = "",
    fresh: Fresh = False,
    overrides: Overrides = None,
) -> None:
    """Pre-train an encoder; run the same command again to go on after any stop."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.pretrain import PretrainConfig

    if not preset:
        raise ConfigError("the preset is empty; `musicssl presets` lists them")
    start = [f"init_from={init_from}"] if init_from else []
    config = load_config(PretrainConfig, preset=preset, scale=scale, overrides=[*start, *(overrides or ())])
    config.check_encoders()
    from ray_musicssl.audio.shard import open_shards
    from ray_musicssl.on_ray.pretrain import pretrain as run
    from ray_musicssl.probing.hidden_targets import resolve
    from ray_musicssl.run_dir import RunDir
    from ray_musicssl.training.label_choice import choose_labels

    config = resolve(config)
    opened = open_shards(shards)
    chosen = choose_labels(config, opened, labels or ())
    checkpoint = run(config, opened, RunDir(run_dir), labels=chosen, fresh=fresh)
    print(f"{checkpoint.step} steps; checkpoint {checkpoint.path}")
    say_where(run_dir)


def embed(
    run: Annotated[Path, typer.Argument(help="A run or checkpoint directory, or a Hugging Face folder.")],
    audio: Audio,
    out: Out,
    layers: Annotated[
        str, typer.Option(help="`all`, or layer numbers such as 0,4 (0 is the transformer's input).")
    ] = "all",
    frames: Annotated[bool, typer.Option("--frames", help="Keep every frame instead of the mean over a clip.")] = False,
    clip_s: Annotated[float, typer.Option(help="Seconds embedded as one row, at most 30.")] = 30.0,
    max_bad_fraction: BadFraction = 0.05,
) -> None:
    """Embed audio files with a trained encoder, into Parquet."""
    if layers != "all" and not all(word.strip().lstrip("-").isdigit() for word in layers.split(",")):
        raise ConfigError(f"--layers {layers!r}: write `all` or whole numbers with commas, such as 0,4")
    numbers = "all" if layers == "all" else [int(word) for word in layers.split(",")]
    from ray_musicssl.on_ray.embed import embed_files

    pool = None if frames else "mean"
    say_where(embed_files(run, audio, out, layers=numbers, pool=pool, clip_s=clip_s, max_bad_fraction=max_bad_fraction))


def probe(
    models: Annotated[list[str], typer.Argument(help=_PROBED, metavar="MODEL...")],
    data: Annotated[Path, typer.Option(help="A data set's folder, or its parent.")],
    tasks: Tasks = "all",
    out: Annotated[Path, typer.Option(help="Scores of models that are no run go to OUT/MODEL.")] = Path("baselines"),
    cache: Annotated[Path, typer.Option(help="Where extracted features are kept.")] = Path("features"),
    split_lists: SplitLists = None,
    pooling: Annotated[
        str, typer.Option(help="Average a track's windows as `embeddings` or `outputs`, or as the `task` says.")
    ] = "task",
    lr_grid: Annotated[str, typer.Option(help="Rates with commas; the best on valid is taken, for each task.")] = "",
    by_layer: Annotated[bool, typer.Option("--by-layer", help="Score every single layer, too.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Remove all features kept of these encoders; extract and fit again.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fit nothing if a file cannot be used.")] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the probe, e.g. num_seeds=5.")
    ] = None,
) -> None:
    """Score frozen encoders on downstream tasks."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.probe import ProbeConfig
    from ray_musicssl.tasks.listing import choose_tasks

    grid = [f"lr_grid=[{lr_grid}]"] if lr_grid else []
    config = load_config(ProbeConfig, overrides=[f"pooling={pooling}", *grid, *(setting or ())])
    names = choose_tasks(tasks)
    from ray_musicssl.on_ray.probe import probe as run
    from ray_musicssl.probing.sources import scores_home

    out_dirs = [scores_home(model, out) for model in models]
    scores = run(
        models,
        data,
        names,
        out_dirs,
        config,
        cache_dir=cache,
        split_lists=split_lists,
        by_layer=by_layer,
        fresh=no_cache,
        strict=strict,
    )
    for score in scores:
        print(score.line())
    for out_dir in out_dirs:
        say_where(out_dir / "scores")


def report(
    root: Annotated[Path, typer.Argument(help="A run, or a folder of runs, baselines and codebooks.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report; default: ROOT.")] = None,
) -> None:
    """Write report.html, results.md and results.csv for all that lies under a folder."""
    from ray_musicssl.reporting.html import write_report
    from ray_musicssl.run_dir import RunDir

    say_where(write_report(root, RunDir(out).report_path if out else None))


def pipeline(
    audio: Audio,
    out: Out,
    presets: Annotated[str, typer.Option(help="Comma-separated presets.")] = "musichubert-small,music2vec-small",
    scale: Scale = "",
    data: Annotated[Path | None, typer.Option(help="Downstream data sets; without it nothing is probed.")] = None,
    tasks: Tasks = "all",
    max_bad_fraction: BadFraction = 0.05,
    overrides: Overrides = None,
) -> None:
    """Run all stages in order, skipping what is done: prepare, kmeans, label, pretrain, embed, probe, report."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.pretrain import PretrainConfig
    from ray_musicssl.tasks.listing import choose_tasks

    names = [name.strip() for name in presets.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--presets {presets!r} names no preset; `musicssl presets` lists them")
    for name in names:
        config = load_config(PretrainConfig, preset=name, scale=scale, overrides=overrides or ())
        config.check_encoders(codebooks_follow=True)
    from ray_musicssl.on_ray.pipeline import Pipeline

    job = Pipeline(
        audio=audio,
        out=out,
        presets=names,
        scale=scale,
        overrides=overrides or (),
        max_bad_fraction=max_bad_fraction,
        data_dir=data,
        tasks=choose_tasks(tasks),
    )
    report_path = job.run()
    for run_dir in job.run_dirs:
        say_where(run_dir)
    say_where(report_path)


def submit(
    stage: Annotated[list[str], typer.Argument(help="A stage and its words, after `--`.")],
    address: Annotated[
        str, typer.Option(help="The job server, e.g. http://127.0.0.1:8265.", envvar="RAY_API_SERVER_ADDRESS")
    ],
    working_dir: Path = Path(),
    submission_id: Annotated[str | None, typer.Option(help="A name not used before on that cluster.")] = None,
    follow: Annotated[bool, typer.Option(help="Show the job's log and wait for its end.")] = True,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow plain http to another machine.")] = False,
) -> None:
    """Run a stage as a job on a cluster."""
    from ray_musicssl.on_ray.submit import submit as run

    job = run(
        stage, address=address, working_dir=working_dir, submission_id=submission_id, follow=follow, insecure=insecure
    )
    print(job)
