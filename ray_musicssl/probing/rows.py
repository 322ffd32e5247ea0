"""Rows of features: what a probe is fitted on, and how its inputs are scaled.

Conventions:
    Features of a clip task are one tensor `[examples, layers, dim]`; of a beat task a list of `[layers, frames, dim]`.
    Any float type will do; arithmetic is float32, statistics float64.
    A row is one clip or one frame, `[layers, dim]`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ray_musicssl.tasks.base import Example

MICRO_BATCH_ROWS = 512  # frames go through the head this many at a time, so that they stay in the cache
# Below this share of the squared mean a spread is rounding, and dividing by it would amplify nothing but that.
CONSTANT_VARIANCE = 1e-12

Features = Float[Tensor, "examples layers dim"] | list[Float[Tensor, "_ _ _"]]


@dataclass(frozen=True, kw_only=True)
class ProbeSplit:
    """The examples of one split and what the encoder makes of them, in the same order."""

    examples: Sequence[Example]
    features: Features

    def layers(self, part: slice) -> "ProbeSplit":
        """The same examples with the features of some layers alone."""
        if isinstance(self.features, Tensor):
            return ProbeSplit(examples=self.examples, features=self.features[:, part])
        return ProbeSplit(examples=self.examples, features=[clip[part] for clip in self.features])


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Mean and inverse spread of every layer and dimension of the training rows."""

    mean: Float32[Tensor, "layers dim"]
    inverse_sd: Float32[Tensor, "layers dim"]

    def standardize(self, rows: Float[Tensor, "rows layers dim"]) -> Float32[Tensor, "rows layers dim"]:
        """Rows with mean 0 and spread 1 on the training set; constant dimensions become 0."""
        return rows.float().sub(self.mean).mul_(self.inverse_sd)


def row_statistics(features: Tensor | Sequence[Tensor]) -> Statistics:
    """Statistics of the rows of a split, in float64."""
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for rows in row_blocks(features):
        wide = rows.double()
        count += len(rows)
        total, squares = total + wide.sum(dim=0), squares + wide.square().sum(dim=0)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_(min=0)
    is_constant = variance <= CONSTANT_VARIANCE * (1 + mean.square())
    inverse_sd = torch.where(is_constant, 0.0, variance.rsqrt())
    return Statistics(mean=mean.float(), inverse_sd=inverse_sd.float())


def no_statistics(num_layers: int, dim: int) -> Statistics:
    """Statistics that leave rows as they are."""
    return Statistics(mean=torch.zeros(num_layers, dim), inverse_sd=torch.ones(num_layers, dim))


def row_blocks(features: Tensor | Sequence[Tensor]) -> Iterator[Float[Tensor, "rows layers dim"]]:
    """The rows of a split: a block a clip for frames, a block a few hundred clips otherwise."""
    if isinstance(features, Tensor):
        yield from features.split(MICRO_BATCH_ROWS)
    else:
        for clip in features:
            yield clip.transpose(0, 1)  # [layers, frames, dim] -> [frames, layers, dim]
