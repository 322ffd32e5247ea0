"""The probe: a small head on frozen features."""

from pydantic import Field

from ray_musicssl.config.section import Section


class ProbeConfig(Section):
    """One recipe for every task.

    Source: Ma et al. 2023, 4.1 (softmax-weighted layers, one hidden layer of 512, lr 1e-3); batch, dropout, epochs and
    patience, on which the paper is silent, as in the same authors' MARBLE benchmark.
    """

    hidden_dim: int = Field(default=512, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=20, ge=1)
    """Epochs without a better validation score before the fit stops."""
    lr_patience: int = Field(default=6, ge=1)
    """Epochs without a better validation score before the rate is halved."""
    standardize: bool = True
    """Scale every input dimension by the training set's mean and spread."""
    crop_s: float = Field(default=10.0, ge=1)
    """Beats: seconds of a training track seen in one epoch, cut at random. Source: MARBLE."""
    beat_batch_size: int = Field(default=2, ge=1)
    """Beats: crops in one step. Each is hundreds of frames, and many small steps learn far sooner than few large ones."""
    beat_max_epochs: int = Field(default=10, ge=1)
    """Beats: at most so many epochs; with 443 tracks 10 are 2,220 steps, three times those of 100 epochs of 64 crops."""
    num_seeds: int = Field(default=3, ge=1)
    """Fits with different seeds; the score is their mean and standard deviation."""
    seed: int = Field(default=1234, ge=0)
