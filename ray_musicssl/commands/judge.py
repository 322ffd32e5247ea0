"""The command that looks at labels."""

from pathlib import Path
from typing import Annotated

import typer

from ray_musicssl.commands.options import Json, ShardsDir, print_rows, say_where
from ray_musicssl.errors import ConfigError, DataError


def judge(
    shards: ShardsDir,
    labels: Annotated[Path | None, typer.Option(help="What `label` wrote; default: every set of the shards.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The demo corpus the shards are of; default: one beside them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Warn of labels that are not normal; hold those of a demo corpus against its notes, chords and instruments."""
    from ray_musicssl.audio.shard import open_shards
    from ray_musicssl.clustering.label_set import sets_of
    from ray_musicssl.on_ray.judge import review_labels
    from ray_musicssl.run_dir import read_json

    opened = open_shards(shards)
    chosen = [labels] if labels else sets_of(opened)
    if not chosen:
        raise DataError(
            f"no labels under {opened.labels_dir}; run `musicssl label --shards {shards} --codebook CODEBOOK`"
        )
    rows, written = [], []
    for labels_dir in chosen:
        path = review_labels(opened, labels_dir, corpus_dir=truth)
        if path is None and truth is not None:
            raise ConfigError(
                f"{truth} is not the demo corpus that {shards} was made from; leave out --truth, or name it"
            )
        if path is not None:
            written.append(path)
            rows += [_row(labels_dir.name, kind) for kind in read_json(path)["truth"]]
    if rows or as_json:
        print_rows(rows, as_json=as_json)
    if not as_json:
        for path in written or chosen:
            say_where(path)


def _row(name: str, kind: dict) -> dict[str, str | int | float]:
    other = kind["other_song"]
    return {
        "labels": name,
        "truth": kind["kind"],
        "classes": kind["labels"]["num_classes"],
        "purity": round(kind["labels"]["class_purity"], 3),
        "nmi": round(kind["labels"]["nmi"], 3),
        "pnmi": round(kind["labels"]["pnmi"], 3),
        "pnmi_shuffled": round(kind["shuffled"]["pnmi"], 3),
        "pnmi_other_song": round(other["pnmi"], 3) if other else "",
    }
