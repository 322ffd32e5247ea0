"""An encoder's settings from the shapes of its weights, for files that have no `config.json`.

Conventions:
    Shapes do not tell the number of heads, the order of norms nor the strides. Where the file brings its settings they are
    checked; where not, HuBERT base's are assumed, and what was assumed is said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.loading import build
from ray_musicssl.errors import DataError
from ray_musicssl.hub.hf_config import flavour_defaults
from ray_musicssl.models.feature_encoder import CONV_KERNELS, CONV_STRIDES

Shapes = Mapping[str, tuple[int, ...]]
HEAD_DIM = 64  # of every published size of this family
_FIXED = {"layer_norm_first": False, "activation_fn": "gelu", "conv_bias": False, "sample_rate": SAMPLE_RATE}
_SETTINGS = {  # ours -> fairseq's
    "num_heads": "encoder_attention_heads",
    "normalize_waveform": "normalize",
    "feature_grad_mult": "feature_grad_mult",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "input_dropout": "dropout_input",
    "layerdrop": "encoder_layerdrop",
}


@dataclass(frozen=True, kw_only=True)
class Sized:
    """An encoder's settings, and what of them no file said."""

    encoder: EncoderConfig
    assumed: tuple[str, ...]


def config_from_shapes(shapes: Shapes, settings: Mapping[str, Any], origin: str) -> Sized:
    """Find an encoder's settings.

    Args:
        shapes: of its parameters, by our names.
        settings: fairseq's, flat; empty if the file has none.
        origin: the file, for messages.

    Raises:
        DataError: if a tensor that tells a size is missing, or a setting names a network that is not ours.
        ConfigError: if the sizes do not fit together.
    """
    try:
        sizes = _sizes(shapes)
    except (KeyError, IndexError) as error:
        raise DataError(f"{origin} is no whole encoder: the tensor that would be {error} here is missing") from error
    _refuse_other_networks(settings, origin)
    found = {ours: settings[theirs] for ours, theirs in _SETTINGS.items() if settings.get(theirs) is not None}
    assumed = []
    if "layer_norm_first" not in settings:
        if sizes["conv_norm"] == "layer" and sizes["pos_conv_depth"] == 1:
            raise DataError(
                f"{origin} has a layer norm after each convolution, one positional convolution and no settings: so are the "
                f"large pre-norm models, which this package's encoder cannot be; convert it to a folder with config.json"
            )
        assumed.append("norms after each block")
    if "num_heads" not in found:
        found["num_heads"] = max(1, sizes["dim"] // HEAD_DIM)
        assumed.append(f"{found['num_heads']} heads of {HEAD_DIM}")
    values = flavour_defaults(sizes["conv_norm"]) | sizes | found
    return Sized(encoder=build(EncoderConfig, values, origin=origin), assumed=tuple(assumed))


def _sizes(shapes: Shapes) -> dict[str, Any]:
    dim, conv_dim = shapes["feature_projection.projection.weight"]
    depth = 1 + max(_numbers(r"encoder\.pos_conv_embed\.layers\.(\d+)\..*", shapes), default=0)
    positional = (
        "encoder.pos_conv_embed.layers.0.conv.weight"
        if depth > 1
        else "encoder.pos_conv_embed.conv.parametrizations.weight.original1"
    )
    _, group_width, kernel = shapes[positional]
    return {
        "num_layers": 1 + max(_numbers(r"encoder\.layers\.(\d+)\..*", shapes), default=0),
        "dim": dim,
        "ffn_dim": shapes["encoder.layers.0.feed_forward.intermediate_dense.weight"][0],
        "conv_dim": conv_dim,
        "conv_norm": "layer" if "feature_extractor.conv_layers.1.layer_norm.weight" in shapes else "group",
        "pos_conv_depth": depth,
        "pos_conv_kernel": kernel,
        "pos_conv_groups": max(1, dim // group_width),
    }


def _numbers(pattern: str, shapes: Shapes) -> list[int]:
    return [int(match[1]) for name in shapes if (match := re.fullmatch(pattern, name))]


def _refuse_other_networks(settings: Mapping[str, Any], origin: str) -> None:
    for field, ours in _FIXED.items():
        if settings.get(field, ours) != ours:
            raise DataError(
                f"{origin} was trained with {field}={settings[field]!r}; "
                f"this package's encoder has {ours!r} and cannot be another"
            )
    stem = settings.get("conv_feature_layers")
    if stem is None:
        return
    kernels_and_strides = [(kernel, stride) for _, kernel, stride in _parse_stem(str(stem))]
    ours = list(zip(CONV_KERNELS, CONV_STRIDES, strict=True))
    if kernels_and_strides != ours:
        raise DataError(
            f"{origin} was trained with conv_feature_layers={stem!r}; the kernels and strides must be {ours}, in this order"
        )


def _parse_stem(text: str) -> list[tuple[int, ...]]:
    """The layers of an expression such as `[(512,10,5)] + [(512,3,2)] * 4`, which fairseq evaluates and we do not."""
    layers = []
    for block in re.finditer(r"\[([^\]]*)\]\s*(?:\*\s*(\d+))?", text):
        layer = [tuple(map(int, re.findall(r"\d+", one))) for one in re.findall(r"\(([^)]*)\)", block[1])]
        layers += layer * min(int(block[2] or 1), len(CONV_KERNELS) + 1)
    return [layer for layer in layers if len(layer) == 3]
