"""The probe: a small head on frozen features."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ray_musicssl.config.section import Section

WindowStatistics = Literal["mean", "mean+sd"]
EnsembleRule = Literal["mean_logits", "mean_probs", "max", "vote"]
KeyEnsemble = EnsembleRule | Literal["best"]
BeatDecoder = Literal["dbn", "peaks"]
TechniqueSplit = Literal["singer", "recording"]


class ProbeConfig(Section):
    """One recipe for every task.

    Source: Ma et al. 2023, 4.1 (softmax-weighted layers, one hidden layer of 512, lr 1e-3); batch, dropout, epochs and
    patience, on which the paper is silent, as in the same authors' MARBLE benchmark, but for beats.
    """

    hidden_dim: int = Field(default=512, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    lr_grid: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Rates that are all fitted, with every seed, instead of `lr`; the one with the best mean headline on the validation
    split gives the score. Source: MARBLE sweeps 1e-2, 5e-3, 1e-3, 5e-4, 1e-4."""
    pooling: Literal["task", "embeddings", "outputs"] = "task"
    """What is averaged over the windows of a track: features before the probe, or the probe's outputs; `task` is what the
    task says. Beats have neither."""
    statistics: WindowStatistics = "mean"
    """What is kept of an encoder's frames in a window: their mean, or their standard deviation too. Of hand-made features it
    is always both; beats have frames. Source: the paper keeps the mean."""
    layers: Literal["all", "transformer"] = "all"
    """What the weighted sum is of: the output of the convolutions and every layer, or the layers alone. Source: the paper has
    all 13, MARBLE 12."""
    key_ensemble: KeyEnsemble = "mean_logits"
    """How the clips of a song agree on its key; `best`: in the way that scores best on the validation split, chosen by each
    fit once its epoch is (by the mean logits). Source: MARBLE tries all four."""
    beat_decoder: BeatDecoder = "dbn"
    """How beats are found in a probe's activations: a bar-pointer network, or peaks."""
    technique_split: TechniqueSplit = "singer"
    """VocalSet's techniques: whether valid has singers of its own, or recordings of those in train; test always has its own."""
    batch_size: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_epochs: int | None = Field(default=None, ge=1)
    """None, of this and the next two: what MARBLE has for the task, 50 to 100 epochs."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation score before the fit stops; MARBLE has 10 or 20."""
    lr_patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation score before the rate is halved; MARBLE has 3, 5 or 6."""
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

    @field_validator("lr_grid")
    @classmethod
    def _rates_differ(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(rates)) < len(rates):
            raise ValueError(f"lr_grid={list(rates)} names a rate twice; give each once")
        return rates

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that are fitted."""
        return self.lr_grid or (self.lr,)
