"""What other projects call the encoder's parameters.

Conventions:
    Our names are those of Hugging Face's HuBERT and data2vec audio models, with PyTorch's present names for weight norm.
    Names are matched whole: a suffix such as `layer_norm.weight` means three different tensors in fairseq.
    What only training needs (heads, teacher, quantizer) may be dropped, by a list; any other unknown name is an error.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ray_musicssl.errors import DataError

LayoutName = Literal["huggingface", "fairseq", "torchaudio"]
MASK_VECTOR = "masked_spec_embed"
_SHOWN = 8  # names in a message; the rest is counted

_OURS = re.compile(
    r"masked_spec_embed"
    r"|feature_extractor\.conv_layers\.\d+\.(conv\.weight|layer_norm\.(weight|bias))"
    r"|feature_projection\.(layer_norm|projection)\.(weight|bias)"
    r"|encoder\.pos_conv_embed\.conv\.(bias|parametrizations\.weight\.original[01])"
    r"|encoder\.pos_conv_embed\.layers\.\d+\.conv\.(weight|bias)"
    r"|encoder\.layer_norm\.(weight|bias)"
    r"|encoder\.layers\.\d+\.(attention\.(k|v|q|out)_proj|feed_forward\.(intermediate|output)_dense"
    r"|layer_norm|final_layer_norm)\.(weight|bias)"
)
# PyTorch's first names for weight norm, and those of its parametrizations.
_WEIGHT_NORM = {
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one project's files name things."""

    name: LayoutName
    prefix: str  # pattern of what may stand before every name
    marker: str  # a name, after the prefix, that no other layout has
    renames: tuple[tuple[str, str], ...]  # whole-name pattern -> our name; the first that fits counts
    dropped: tuple[str, ...]  # whole-name patterns of what an encoder does not need


# Source: parameter names of transformers 5.23 (models and their task heads).
HUGGINGFACE = Layout(
    name="huggingface",
    prefix=r"(hubert\.|data2vec_audio\.|wav2vec2\.|mert_model\.)?",
    marker="feature_projection.projection.weight",
    renames=((r".*", r"\g<0>"),),
    dropped=(
        r"(lm_head|classifier|projector|project_hid|project_q|quantizer)\..*",  # CTC, classification, pre-training heads
        r"(tdnn\.\d+|objective|feature_extractor)\.(kernel\.)?(weight|bias)",  # x-vector head; its linear map has this name
        r"layer_weights",
    ),
)
# Source: parameter names of fairseq's hubert and data2vec_audio models.
FAIRSEQ = Layout(
    name="fairseq",
    prefix="",
    marker="feature_extractor.conv_layers.0.0.weight",
    renames=(
        (r"mask_emb", MASK_VECTOR),
        (r"feature_extractor\.conv_layers\.(\d+)\.0\.weight", r"feature_extractor.conv_layers.\1.conv.weight"),
        (r"feature_extractor\.conv_layers\.0\.2\.(weight|bias)", r"feature_extractor.conv_layers.0.layer_norm.\1"),
        (
            r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.(weight|bias)",
            r"feature_extractor.conv_layers.\1.layer_norm.\2",
        ),
        (r"layer_norm\.(weight|bias)", r"feature_projection.layer_norm.\1"),
        (r"post_extract_proj\.(weight|bias)", r"feature_projection.projection.\1"),
        (r"encoder\.pos_conv\.0\.(weight_g|weight_v|bias)", r"encoder.pos_conv_embed.conv.\1"),
        (
            r"encoder\.pos_conv\.0\.(parametrizations\.weight\.original[01])",
            r"encoder.pos_conv_embed.conv.\1",
        ),
        (r"encoder\.pos_conv\.(\d+)\.0\.(weight|bias)", r"encoder.pos_conv_embed.layers.\1.conv.\2"),
        (r"encoder\.layer_norm\.(weight|bias)", r"\g<0>"),
        (r"encoder\.layers\.(\d+)\.self_attn\.(\w+_proj)\.(weight|bias)", r"encoder.layers.\1.attention.\2.\3"),
        (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(weight|bias)", r"encoder.layers.\1.layer_norm.\2"),
        (r"encoder\.layers\.(\d+)\.fc1\.(weight|bias)", r"encoder.layers.\1.feed_forward.intermediate_dense.\2"),
        (r"encoder\.layers\.(\d+)\.fc2\.(weight|bias)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
        (r"encoder\.layers\.\d+\.final_layer_norm\.(weight|bias)", r"\g<0>"),
    ),
    dropped=(
        r"final_proj\.(\d+\.)?(weight|bias)",
        r"label_embs_concat",
        r"_ema(\..*)?",
        r"target_glu\..*",
        r"(project_q|quantizer|input_quantizer|project_inp)\..*",
    ),
)
# Source: parameter names of torchaudio 2.11 (Wav2Vec2Model, HuBERTPretrainModel).
TORCHAUDIO = Layout(
    name="torchaudio",
    prefix=r"(model\.)?(wav2vec2\.)?",
    marker="encoder.feature_projection.projection.weight",
    renames=(
        (r"mask_generator\.mask_embedding", MASK_VECTOR),
        (r"feature_extractor\..*", r"\g<0>"),
        (r"encoder\.(feature_projection\..*)", r"\1"),
        (r"encoder\.transformer\.(.*)", r"encoder.\1"),
    ),
    dropped=(r"logit_generator\.(label_embeddings|final_proj\.(weight|bias))", r"aux\.(weight|bias)"),
)
LAYOUTS = (TORCHAUDIO, FAIRSEQ, HUGGINGFACE)


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """What the names of a file mean."""

    kept: Mapping[str, str]  # our name -> theirs
    dropped: tuple[str, ...]  # theirs


def detect_layout(names: Iterable[str], origin: str) -> Layout:
    """The project whose names these are.

    Raises:
        DataError: if they are no known project's.
    """
    names = list(names)
    for layout in LAYOUTS:
        marker = re.compile(layout.prefix + re.escape(layout.marker))
        if any(marker.fullmatch(name) for name in names):
            return layout
    known = ", ".join(f"{layout.name} ({layout.marker})" for layout in LAYOUTS)
    raise DataError(f"{origin} holds no encoder with known names; known are {known}; it has {listed(names)}")


def rename(names: Iterable[str], layout: Layout, origin: str) -> Renaming:
    """Translate the names of a file into ours.

    Raises:
        DataError: listing the names that are neither an encoder's nor known as not needed, or that mean the same tensor.
    """
    kept: dict[str, str] = {}
    dropped, unknown, twice = [], [], []
    for theirs in names:
        bare = re.sub(f"^{layout.prefix}", "", theirs)
        ours = _ours(bare, layout)
        if ours is not None:
            twice += [theirs] if ours in kept else []
            kept[ours] = theirs
        elif any(re.fullmatch(pattern, bare) for pattern in layout.dropped):
            dropped.append(theirs)
        else:
            unknown.append(theirs)
    if unknown or twice:
        faults = [f"unknown: {listed(unknown)}"] if unknown else []
        faults += [f"there under two names: {listed(twice)}"] if twice else []
        raise DataError(
            f"{origin} is not an encoder of this kind ({layout.name} names), {'; '.join(faults)}; "
            f"only post-norm HuBERT, data2vec audio and wav2vec 2.0 encoders can be read"
        )
    return Renaming(kept=kept, dropped=tuple(dropped))


def huggingface_name(ours: str) -> str:
    """The name under which every version of transformers loads a parameter: weight norm by its first names."""
    first_names = {new: old for old, new in _WEIGHT_NORM.items()}
    return first_names.get(ours, ours)


def listed(names: Iterable[str]) -> str:
    """Some names for a message, and how many more there are."""
    names = sorted(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _ours(bare: str, layout: Layout) -> str | None:
    for pattern, template in layout.renames:
        match = re.fullmatch(pattern, bare)
        if match is not None:
            ours = match.expand(template)
            ours = _WEIGHT_NORM.get(ours, ours)
            return ours if _OURS.fullmatch(ours) else None
    return None
