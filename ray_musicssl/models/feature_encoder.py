"""The convolutional stem: waveform to 50 Hz features. Submodules are named as in Hugging Face checkpoints."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ray_musicssl.config.encoder import CONV_KERNELS, CONV_STRIDES, EncoderConfig


class ConvLayer(nn.Module):
    """Convolution, norm (if any), GELU; no bias, no padding."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_dim, out_dim, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.norm = norm
        if norm == "group":
            self.layer_norm: nn.Module = nn.GroupNorm(out_dim, out_dim)
        elif norm == "layer":
            self.layer_norm = nn.LayerNorm(out_dim)

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch dim frames"]:
        """One layer."""
        x = self.conv(x)
        if self.norm == "group":
            x = self.layer_norm(x)
        elif self.norm == "layer":
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        return F.gelu(x)


class FeatureEncoder(nn.Module):
    """Seven convolutions, 400 samples to a frame every 320.

    Group norm stands after the first convolution only and sees the whole crop; layer norm stands after each and sees one
    frame. Source: fairseq's `default` and `layer_norm` extractors.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        layers = []
        for index, (kernel, stride) in enumerate(zip(CONV_KERNELS, CONV_STRIDES, strict=True)):
            norm = "layer" if config.conv_norm == "layer" else ("group" if index == 0 else "none")
            layers.append(ConvLayer(1 if index == 0 else config.conv_dim, config.conv_dim, kernel, stride, norm))
        self.conv_layers = nn.ModuleList(layers)

    def forward(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Features of raw audio in [-1, 1]."""
        x = waveform.unsqueeze(1)
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    """Layer norm over the stem's channels, then a linear map to the transformer's width."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dim)
        self.projection = nn.Linear(config.conv_dim, config.dim)

    def forward(self, features: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames width"]:
        """Projected features, before dropout and mask."""
        return self.projection(self.layer_norm(features))


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor  # pyright: ignore[reportAttributeAccessIssue]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None  # pyright: ignore[reportAttributeAccessIssue]


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Give `x` unchanged and multiply its gradient by `factor`; 0 cuts it."""
    if factor == 1.0:
        return x
    return x.detach() if factor == 0.0 else _ScaleGradient.apply(x, factor)
