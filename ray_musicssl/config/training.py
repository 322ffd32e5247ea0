"""Length, precision and bookkeeping of a run."""

from typing import Literal

from pydantic import Field

from ray_musicssl.config.section import Section


class TrainingConfig(Section):
    """How long to train, in what arithmetic, and how often to log and save."""

    max_steps: int = Field(default=400_000, ge=1)
    """Optimiser steps. Source: Ma et al. 2023, 4.1."""
    seed: int = Field(default=1337, ge=0)
    """Fixes the start weights, the order of clips, crops, masks and dropout."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """`bf16`, `fp16`: matrix products in half precision; weights, optimiser and losses stay float32. fp16 scales the loss."""
    activation_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping what it did: less memory, a third more work."""
    compile: bool = False
    """Compile the layers with torch.compile: slower to start, then faster; equal within rounding."""
    reduce: Literal["allreduce", "ordered"] = "allreduce"
    """`ordered` adds micro-batch gradients in index order: the same bits for any number of workers, at some cost."""
    checkpoint_every_steps: int = Field(default=5000, ge=1)
    keep_checkpoints: int = Field(default=3, ge=2)
    log_every_steps: int = Field(default=100, ge=1)
    max_failures: int = Field(default=3, ge=-1)
    """Worker losses survived inside one run; -1 for any number."""
    max_nonfinite_steps: int = Field(default=5, ge=0)
    """Steps in a row whose gradient may be NaN or infinite (they are skipped) before the run stops; with fp16 the loss scale
    decides instead."""
