"""Commands that carry weights in and out."""

from pathlib import Path
from typing import Annotated

import typer

from ray_musicssl.commands.options import Out, say_where


def export(
    run: Annotated[Path, typer.Argument(help="A run or checkpoint directory.")],
    out: Out,
    codebook: Annotated[
        list[Path] | None, typer.Option(help="What `kmeans` wrote for this run; once for each label set.")
    ] = None,
) -> None:
    """Write a trained encoder as a folder that transformers loads without remote code."""
    from ray_musicssl.hub.export import export_huggingface

    say_where(export_huggingface(run, out, codebooks=codebook or ()))


def import_weights(
    source: Annotated[
        Path, typer.Argument(help="Hugging Face folder, fairseq or torchaudio file, or a run.", metavar="SRC")
    ],
    out: Out,
    allow_legacy: Annotated[
        bool,
        typer.Option("--allow-legacy", help="Read a pickle, through a list of allowed names; nothing in it is run."),
    ] = False,
) -> None:
    """Write an encoder from elsewhere as a folder that this package and transformers load."""
    from ray_musicssl.hub.export import convert

    opened = convert(source, out, allow_legacy=allow_legacy)
    left_out = f"; {len(opened.dropped)} tensors of heads left out" if opened.dropped else ""
    print(
        f"{opened.origin} encoder {opened.name}: {opened.model.config.num_layers} layers of {opened.model.config.dim}{left_out}"
    )
    for sentence in opened.assumed:
        print(f"assumed, because the file does not say: {sentence}")
    say_where(out)
