"""Short, readable names of trials.

Conventions:
    Variant, then a word an axis in the file's order, then the seed if there are several: `prob0.65-span10-k500-crop5`.
    A name depends on the trial alone, so that it stays when others are added.
"""

import re
from collections.abc import Sequence
from typing import Any

from ray_musicssl.run_dir import hash_of
from ray_musicssl.search_space.setting import Setting

_LONGEST_WORD = 32  # of a value in a name, which directories have too; longer ones end in their hash
_SHORT = {
    "masking.mask_prob": "prob",
    "masking.mask_length": "span",
    "clustering.num_clusters": "k",
    "audio.crop_s": "crop",
    "audio.batch_s": "batch",
    "optim.peak_lr": "lr",
    "optim.warmup_fraction": "warmup",
    "training.max_steps": "steps",
    "objective.top_k": "top",
    "encoder.num_layers": "layers",
    "feature.num_coefficients": "mfcc",
    "feature.name": "",
    "feature.layer": "layer",
}


def trial_name(title: str, variant: str, point: Sequence[Setting], seed: int | None) -> str:
    """A trial's name.

    Args:
        title: stands alone if there is nothing else to say.
        variant: the variant's name, empty in a file without variants.
        point: a value for each axis.
        seed: None where all trials have the same.
    """
    words = [variant, *(axis_word(setting) for setting in point), "" if seed is None else f"seed{seed}"]
    return "-".join(filter(None, words)) or title


def axis_word(setting: Setting) -> str:
    """One axis at one value: `prob0.65`."""
    last = setting.key.rpartition(".")[2].replace("_", "-")
    return _SHORT.get(setting.key, last) + _value_word(setting.value)


def _value_word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    word = re.sub(r"[^A-Za-z0-9.+_]+", "_", str(value)).strip("_")
    return word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 9]}_{hash_of(value)[:8]}"
