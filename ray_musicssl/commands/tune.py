"""The sweep: many runs from one file, and what they would be."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ray_musicssl.commands.options import Fresh, Json, Overrides, say_where
from ray_musicssl.errors import ConfigError

if TYPE_CHECKING:
    from ray_musicssl.search_space.space import SearchSpace
    from ray_musicssl.search_space.trial import Trial


def tune(
    space: Annotated[Path, typer.Argument(help="A YAML file that says which trials; tune_spaces/ has some.")],
    shards: Annotated[Path | None, typer.Option("--shards", help="What `prepare` wrote.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="The sweep; the same command on it goes on.")] = None,
    data: Annotated[Path | None, typer.Option(help="Downstream data sets; without it nothing is probed.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the trials would be, and start nothing.")
    ] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the probe, e.g. num_seeds=5.")
    ] = None,
    fresh: Fresh = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Train and probe every trial of a search space; run the same command again to go on after any stop."""
    from ray_musicssl.search_space.space import load_space

    loaded = load_space(space, overrides=overrides or (), probe_settings=setting or ())
    if dry_run:
        _show(loaded, as_json=as_json)
        return
    if as_json:
        raise ConfigError(
            "--json has no effect on a sweep that runs; add --dry-run, or read results.csv in its directory"
        )
    if shards is None or run_dir is None:
        missing = " and ".join(name for name, value in (("--shards", shards), ("--run-dir", run_dir)) if value is None)
        raise ConfigError(f"{missing} missing: what to train on and where to; --dry-run needs neither")
    from ray_musicssl.on_ray.tune import tune as run

    report_path = run(loaded, run_dir=run_dir, shards=shards, data=data, fresh=fresh)
    say_where(report_path)
    print(f"curves: tensorboard --logdir {run_dir}")


def _show(space: "SearchSpace", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([trial_facts(trial) for trial in space.trials]))
        return
    from ray_musicssl.commands.trial_table import print_space

    print_space(space)


def trial_facts(trial: "Trial") -> dict[str, Any]:
    """What a trial is and needs, as plain values."""
    resources = trial.resources
    return {
        "name": trial.name,
        "variant": trial.variant,
        "preset": trial.preset,
        "scale": trial.scale or None,
        "overrides": list(trial.overrides),
        "after": trial.after or None,
        "wave": trial.wave,
        "labels": [
            {
                "title": need.title,
                "key": need.key,
                "trial": need.trial or None,
                **_codebook(need.kmeans.model_dump(mode="json")),
            }
            for need in trial.labels
        ],
        "resources": {
            "num_workers": resources.num_workers,
            "cpus_per_worker": resources.cpus_per_worker,
            "gpus_per_worker": resources.gpus_per_worker,
        },
        "max_steps": trial.config.training.max_steps,
        "step_s": trial.step_s,
        "identity": trial.identity,
    }


def _codebook(kmeans: Mapping[str, Any]) -> dict[str, Any]:
    return {"feature": kmeans["feature"], "num_clusters": kmeans["clustering"]["num_clusters"]}
