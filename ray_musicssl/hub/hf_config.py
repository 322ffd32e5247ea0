"""Hugging Face's `config.json` and `preprocessor_config.json` as our encoder's settings, and back.

Conventions:
    A field that would make another network than ours is refused by name; a field that is absent has Hugging Face's default.
    Settings those files do not hold come from the flavour: the stem's norm decides, as it does in the published recipes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.loading import build
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.models.feature_encoder import CONV_KERNELS, CONV_STRIDES
from ray_musicssl.run_dir import read_json

CONFIG_NAME, PREPROCESSOR_NAME = "config.json", "preprocessor_config.json"
DATA2VEC_TYPE = "data2vec-audio"
_MODEL_TYPES = ("hubert", "wav2vec2", "mert_model", DATA2VEC_TYPE)
LAYER_NORM_EPS = 1e-5
# What ours is, under Hugging Face's names; the last three are MERT's.
_FIXED: dict[str, Any] = {
    "conv_kernel": list(CONV_KERNELS),
    "conv_stride": list(CONV_STRIDES),
    "conv_bias": False,
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "do_stable_layer_norm": False,
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": LAYER_NORM_EPS,
    "add_adapter": False,
    "feature_extractor_cqt": False,
    "deepnorm": False,
    "attention_relax": -1.0,
}
_DROPOUTS = {  # ours -> theirs; the dropout behind their feature projection is our dropout before the mask
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "input_dropout": "feat_proj_dropout",
    "layerdrop": "layerdrop",
}


@dataclass(frozen=True, kw_only=True)
class FolderSettings:
    """What a Hugging Face folder's JSON files say."""

    encoder: EncoderConfig
    has_mask_vector: bool


def flavour_defaults(conv_norm: str) -> dict[str, Any]:
    """Settings that go with a stem's norm and are in no file of weights.

    Source: fairseq's hubert_base (group) and data2vec audio base (layer) recipes.
    """
    is_layer = conv_norm == "layer"
    return {
        "normalize_waveform": is_layer,
        "feature_grad_mult": 1.0 if is_layer else 0.1,
        "input_dropout": 0.0 if is_layer else 0.1,
    }


def read_settings(folder: Path) -> FolderSettings:
    """Read the JSON files of a folder.

    Raises:
        DataError: if a file is damaged, or names a network that is not ours; the message names the field.
        ConfigError: if the sizes do not fit together.
    """
    path = folder / CONFIG_NAME
    theirs = _read(path)
    model_type = theirs.get("model_type")
    if model_type not in _MODEL_TYPES:
        raise DataError(f"{path} has model_type={model_type!r}; only {', '.join(_MODEL_TYPES)} can be read")
    _refuse_other_networks(theirs, path)
    try:
        sizes = _sizes(theirs, is_data2vec=model_type == DATA2VEC_TYPE)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} lacks a size of the encoder: {error}") from error
    if len(set(theirs["conv_dim"])) != 1:
        raise DataError(
            f"{path} has conv_dim={theirs['conv_dim']}; only stems with as many channels in each layer are read"
        )
    if model_type == DATA2VEC_TYPE and sizes["pos_conv_depth"] < 2:
        raise DataError(
            f"{path} has num_conv_pos_embeddings={sizes['pos_conv_depth']}; data2vec's positional convolutions can be read "
            f"from 2 up"
        )
    dropouts = {ours: theirs[name] for ours, name in _DROPOUTS.items() if name in theirs}
    values = flavour_defaults(sizes["conv_norm"]) | sizes | dropouts | _preprocessing(folder)
    masks = theirs.get("mask_time_prob", 0.05) > 0 or theirs.get("mask_feature_prob", 0.0) > 0
    return FolderSettings(encoder=build(EncoderConfig, values, origin=str(path)), has_mask_vector=masks)


def model_class(config: EncoderConfig) -> str:
    """The transformers class that computes what an encoder computes.

    Raises:
        ConfigError: if none does.
    """
    if config.pos_conv_depth == 1:
        return "HubertModel"
    if config.conv_norm == "layer":
        return "Data2VecAudioModel"
    raise ConfigError(
        f"encoder.conv_norm=group with encoder.pos_conv_depth={config.pos_conv_depth} is no model of transformers: "
        f"HubertModel has one positional convolution, Data2VecAudioModel a stem with layer norm; "
        f"such a run cannot be exported, but `load_encoder` and `musicssl embed` read it as it is. To export, train with "
        f"encoder.conv_norm=layer encoder.normalize_waveform=true, or with encoder.pos_conv_depth=1"
    )


def config_json(config: EncoderConfig) -> dict[str, Any]:
    """What `config.json` says of an encoder.

    Raises:
        ConfigError: if no model of transformers computes the same.
    """
    name = model_class(config)
    common = {
        "architectures": [name],
        "hidden_size": config.dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.ffn_dim,
        "conv_dim": [config.conv_dim] * len(CONV_KERNELS),
        "num_conv_pos_embedding_groups": config.pos_conv_groups,
        **{theirs: getattr(config, ours) for ours, theirs in _DROPOUTS.items()},
        **{key: _FIXED[key] for key in ("conv_kernel", "conv_stride", "conv_bias", "hidden_act")},
        **{key: _FIXED[key] for key in ("feat_extract_activation", "layer_norm_eps", "conv_pos_batch_norm")},
        # For fine-tuning there, as transformers' own default: without it the mask vector would not be loaded.
        "mask_time_prob": 0.05,
        "mask_time_length": 10,
    }
    if name == "HubertModel":
        return common | {
            "model_type": "hubert",
            "feat_extract_norm": config.conv_norm,
            "feat_proj_layer_norm": True,
            "do_stable_layer_norm": False,
            "num_conv_pos_embeddings": config.pos_conv_kernel,
        }
    return common | {
        "model_type": DATA2VEC_TYPE,
        "num_conv_pos_embeddings": config.pos_conv_depth,
        "conv_pos_kernel_size": config.pos_conv_kernel,
    }


def preprocessor_json(config: EncoderConfig) -> dict[str, Any]:
    """What `preprocessor_config.json` says: how audio must be prepared."""
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": SAMPLE_RATE,
        "padding_side": "right",
        "padding_value": 0.0,
        "do_normalize": config.normalize_waveform,
        # transformers' own rule: a stem with group norm hears the padding whatever the attention mask says.
        "return_attention_mask": config.conv_norm == "layer",
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no JSON object")
    return values


def _refuse_other_networks(theirs: Mapping[str, Any], path: Path) -> None:
    for field, ours in _FIXED.items():
        if field in theirs and theirs[field] != ours:
            raise DataError(
                f"{path} has {field}={theirs[field]!r}; this package's encoder has {ours!r} and cannot be another"
            )


def _sizes(theirs: Mapping[str, Any], *, is_data2vec: bool) -> dict[str, Any]:
    return {
        "num_layers": theirs["num_hidden_layers"],
        "dim": theirs["hidden_size"],
        "num_heads": theirs["num_attention_heads"],
        "ffn_dim": theirs["intermediate_size"],
        "conv_dim": theirs["conv_dim"][0],
        "conv_norm": "layer" if is_data2vec else theirs.get("feat_extract_norm", "group"),
        "pos_conv_depth": theirs.get("num_conv_pos_embeddings", 5) if is_data2vec else 1,
        "pos_conv_kernel": theirs.get(
            *("conv_pos_kernel_size", 19) if is_data2vec else ("num_conv_pos_embeddings", 128)
        ),
        "pos_conv_groups": theirs.get("num_conv_pos_embedding_groups", 16),
    }


def _preprocessing(folder: Path) -> dict[str, Any]:
    path = folder / PREPROCESSOR_NAME
    if not path.exists():
        return {}
    theirs = _read(path)
    rate = theirs.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise DataError(f"{path} has sampling_rate={rate}; this package's encoders hear {SAMPLE_RATE} Hz only")
    return {"normalize_waveform": theirs["do_normalize"]} if "do_normalize" in theirs else {}
