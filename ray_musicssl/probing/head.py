"""The probe's head: a weighted sum of layers and one hidden layer.

Conventions:
    A row is what one output is computed from: a clip's pooled features, or one frame of them. Its shape is
    `[layers, dim]`, so that clip tasks and frame tasks share one head. (MARBLE puts the frame head's dropout before the
    ReLU and the clip head's after it; as a dropout factor is never negative the two orders give the same numbers.)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_BYTE_VALUES = 256


class WeightedSumProbe(nn.Module):
    """Softmax-weighted sum of layers -> Linear -> ReLU -> Dropout -> Linear.

    The weights of the sum start equal. All random choices (initial weights, dropout) come from `generator`.

    Source: Ma et al. 2023, 4.1.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_outputs: int,
        hidden_dim: int = 512,
        dropout: float = 0.2,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.layer_logits = nn.Parameter(torch.zeros(num_layers))
        self.hidden = _linear(dim, hidden_dim, generator)
        self.output = _linear(hidden_dim, num_outputs, generator)
        self.dropout = dropout
        self._generator = generator

    @property
    def layer_weights(self) -> Float[Tensor, " layers"]:
        """The share of each layer in the sum; they add up to 1."""
        return self.layer_logits.softmax(dim=0)

    def forward(self, rows: Float[Tensor, "rows layers dim"]) -> Float[Tensor, "rows outputs"]:
        """Logits (or values) of each row; dropout in training mode only."""
        summed = (rows * self.layer_weights[:, None]).sum(dim=1)
        hidden = self.hidden(summed).relu()
        if self.training and self.dropout > 0:
            hidden = hidden * _dropout_factors(hidden.shape, self.dropout, self._generator)
        return self.output(hidden)


def _linear(num_inputs: int, num_outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with PyTorch's usual initial distribution, drawn from `generator`."""
    layer = nn.Linear(num_inputs, num_outputs, device="meta").to_empty(device="cpu")  # draws nothing
    bound = num_inputs**-0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def _dropout_factors(shape: torch.Size, dropout: float, generator: torch.Generator) -> Float[Tensor, "rows dim"]:
    """0 with chance `dropout` (to the nearest 1/256), else what keeps the mean at 1.

    One random byte decides each value: on frames, drawing a float for each would cost as much as the matrix products.
    """
    num_words = (shape.numel() + 7) // 8
    words = torch.empty(num_words, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    draws = words.view(torch.uint8)[: shape.numel()].view(shape)
    num_dropped = min(round(dropout * _BYTE_VALUES), _BYTE_VALUES - 1)
    return (draws >= num_dropped).float().mul_(_BYTE_VALUES / (_BYTE_VALUES - num_dropped))
