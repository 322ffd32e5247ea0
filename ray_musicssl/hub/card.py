"""The model card: what a folder of weights is, how to load it, and what must not be expected of it."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from ray_musicssl import __version__
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.hub.hf_config import model_class
from ray_musicssl.hub.importer import OpenedEncoder
from ray_musicssl.training.checkpoint import Checkpoint

_OBJECTIVES = {
    "musichubert": "masked prediction of k-means labels (MusicHuBERT)",
    "music2vec": "regression of an averaged teacher's layers (Music2Vec, data2vec 1.0)",
    "joint": "masked prediction of k-means labels and regression of an averaged teacher's layers (MusicHuBERT + Music2Vec)",
}
_LOADING = """\
## Loading it

With transformers, no remote code:

```python
import torch
from transformers import AutoFeatureExtractor, {model_class}

model = {model_class}.from_pretrained("PATH").eval()
prepare = AutoFeatureExtractor.from_pretrained("PATH")  # 16 kHz mono in; do_normalize as in training
inputs = prepare(waveform, sampling_rate=16_000, return_tensors="pt")
with torch.inference_mode():
    hidden_states = model(**inputs, output_hidden_states=True).hidden_states  # {num_states} of [batch, frames, {dim}]
```

With ray_musicssl, audio of any rate, channels and length:

```python
from ray_musicssl import load_encoder

frames = load_encoder("PATH").embed(waveform, sample_rate=44_100)  # [{num_states}, frames, {dim}], 50 frames a second
```
"""
_LIMITS = (
    "It gives features, not decisions: a head must be trained on them, and which layer is best depends on the task.",
    "Only the encoder is here. The heads, and a teacher if there was one, stay with the run they came from.",
    "It hears 16 kHz mono: nothing above 8 kHz, and no stereo.",
    "Dropouts in `config.json` are those of pre-training; `mask_time_prob` is transformers' default for fine-tuning.",
)
_GROUP_LIMIT = (
    "The first convolution is normalised over the whole input, so a frame's features depend on the crop, and padding shows: "
    "embed recordings one by one, without padding."
)
_LAYER_LIMIT = (
    "Waveforms must be normalised as the preprocessor does; loudness is lost in this. "
    "transformers adds 1e-7 to the variance, training added 1e-5: very quiet recordings differ a little."
)


def model_card(encoder: EncoderConfig, about: list[str], provenance: Mapping[str, Any], *, title: str) -> str:
    """The text of `README.md`.

    Args:
        encoder: sizes and flavour.
        about: sentences, as `about_run` or `about_import` give them.
        provenance: what `provenance.json` says; its hashes are shown.
        title: the heading.
    """
    front = {
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",
        "tags": ["music", "audio", "self-supervised", "ray_musicssl"],
    }
    name = model_class(encoder)
    flavour = _GROUP_LIMIT if encoder.conv_norm == "group" else _LAYER_LIMIT
    sizes = (
        f"{encoder.num_layers} layers of width {encoder.dim} with {encoder.num_heads} heads, feed-forward {encoder.ffn_dim}, "
        f"stem of {encoder.conv_dim} channels with {encoder.conv_norm} norm; 16 kHz in, 50 frames a second out"
    )
    loading = _LOADING.format(model_class=name, num_states=encoder.num_layers + 1, dim=encoder.dim)
    sections = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# {title}\n",
        "A self-supervised music encoder: audio in, one vector a layer every 20 ms out.\n",
        _bullets([*about, f"Architecture (`{name}`): {sizes}."]),
        loading,
        f"## Limits\n\n{_bullets([*_LIMITS, flavour])}",
        "## Where it comes from\n\n`provenance.json` has all settings, hashes and versions; in short:\n",
        f"```json\n{json.dumps(provenance['source'], indent=1, sort_keys=True)}\n```\n",
        f"Written by ray_musicssl {__version__}.\n",
    ]
    return "\n".join(sections)


def about_run(checkpoint: Checkpoint) -> list[str]:
    """What a run was, in sentences."""
    config: PretrainConfig = checkpoint.config
    heard_hours = checkpoint.step * config.audio.batch_clips * config.audio.crop_s / 3600
    preset = f"preset `{config.preset}`" if config.preset else "own settings, no preset"
    training = (
        f"Training: {checkpoint.step} of {config.training.max_steps} steps on crops of {config.audio.crop_s:g} s, "
        f"{heard_hours:.3g} hours of audio heard (crops counted each time)."
    )
    objective = _OBJECTIVES.get(config.objective.name, config.objective.name)
    sentences = [f"Objective: {objective}; {preset}.", training]
    if config.uses_labels:
        features = ", ".join(
            f"{kmeans.feature.slug} (k={kmeans.clustering.num_clusters})" for kmeans in config.label_configs
        )
        sentences.append(f"Targets: clusters of {features}.")
    if checkpoint.step < config.training.max_steps:
        sentences.append("The run had not ended: this is a checkpoint from its middle.")
    return sentences


def about_import(opened: OpenedEncoder) -> list[str]:
    """What a converted file was, in sentences."""
    converted = (
        f"Converted from weights in the {opened.origin} form; who trained them, on what, and under which licence they may be "
        f"used must be looked up where they came from."
    )
    return [converted, *([f"Not said by the file and assumed: {'; '.join(opened.assumed)}."] if opened.assumed else [])]


def _bullets(sentences: list[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in sentences)
