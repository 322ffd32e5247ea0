"""How varied some frames are: what a collapse takes away.

Conventions:
    Moments are vectors that add up over batches and workers; a measure is taken of their total.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Source: fairseq's data2vec adds this under the root.
STD_EPS = 1e-6
_ROUNDING = 1e-12  # of the second moments: what differences of float64 sums leave of equal frames
RANK_FRAMES = 256  # of one micro-batch, evenly spaced: enough for a covariance over some logged steps


def moments(frames: Float[Tensor, "n dim"]) -> Float[Tensor, " moments"]:
    """Count, sums and sums of squares."""
    return torch.cat([frames.new_tensor([len(frames)]), frames.sum(0), frames.pow(2).sum(0)])


def spread(moments: Float[Tensor, " moments"]) -> float:
    """The mean over dimensions of the standard deviation over frames.

    Source: the variance that data2vec guards, whose name hides a square root.
    """
    count = moments[0]
    sums, squares = moments[1:].double().chunk(2)
    variance = (squares - sums**2 / count) / (count - 1).clamp(min=1)
    return float(torch.sqrt(variance.clamp(min=0) + STD_EPS).mean())


def outer_moments(frames: Float[Tensor, "n dim"]) -> Float[Tensor, " moments"]:
    """Count, sums and sums of outer products of at most `RANK_FRAMES` of the frames."""
    count = min(len(frames), RANK_FRAMES)
    chosen = frames[torch.arange(count, device=frames.device) * len(frames) // max(count, 1)].double()
    return torch.cat([chosen.new_tensor([len(chosen)]), chosen.sum(0), (chosen.T @ chosen).flatten()])


def effective_rank(moments: Float[Tensor, " moments"]) -> float:
    """How many directions the frames really use: the exponential of the entropy of the covariance's spectrum.

    1 if all frames lie on a line, the number of dimensions if they spread equally into all; 0 if they are all equal, NaN
    if a number is not finite.

    Source: Roy and Vetterli 2007, on the eigenvalues. A stem can collapse while targets and predictions look fine.
    """
    dim = int((1 + 4 * (len(moments) - 1)) ** 0.5 - 1) // 2
    count, sums = moments[0], moments[1 : dim + 1]
    second = moments[dim + 1 :].reshape(dim, dim) / count
    covariance = second - torch.outer(sums, sums) / count**2
    if not torch.isfinite(covariance).all():
        return math.nan
    # On the CPU: eigenvalues are wanted once a log, and not every accelerator computes them in float64.
    eigenvalues = torch.linalg.eigvalsh(covariance.double().cpu()).clamp(min=0)
    total = eigenvalues.sum()
    if total <= _ROUNDING * second.trace().cpu():
        return 0.0
    shares = eigenvalues / total
    return float(torch.exp(torch.special.entr(shares).sum()))
