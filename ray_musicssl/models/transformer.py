"""The post-norm transformer and its positional convolution. Submodules are named as in Hugging Face checkpoints."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

from ray_musicssl.config.encoder import EncoderConfig

NO_LAYERS: frozenset[int] = frozenset()


class WeightNormPositionalConv(nn.Module):
    """One wide grouped convolution with weight norm over its kernel positions.

    Source: wav2vec 2.0 / HuBERT (kernel 128, 16 groups); an even kernel gives one frame too many, which is dropped.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        kernel = config.pos_conv_kernel
        conv = nn.Conv1d(config.dim, config.dim, kernel, padding=kernel // 2, groups=config.pos_conv_groups)
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (kernel * config.dim)))
        nn.init.zeros_(conv.bias)  # pyright: ignore[reportArgumentType]
        self.conv = weight_norm(conv, name="weight", dim=2)

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        """What is added to the frames."""
        y = self.conv(x.transpose(1, 2))[..., : x.shape[1]]
        return F.gelu(y).transpose(1, 2)


class _PositionalConvLayer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        kernel = config.pos_conv_kernel
        self.conv = nn.Conv1d(config.dim, config.dim, kernel, padding=kernel // 2, groups=config.pos_conv_groups)

    def forward(self, x: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch dim frames"]:
        y = self.conv(x)[..., : x.shape[2]]
        y = F.layer_norm(y.transpose(1, 2), (y.shape[1],)).transpose(1, 2)
        return F.gelu(y)


class StackedPositionalConv(nn.Module):
    """Several narrow grouped convolutions, each with a layer norm without parameters.

    Source: data2vec audio (5 of kernel 19).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_PositionalConvLayer(config) for _ in range(config.pos_conv_depth)])

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        """What is added to the frames."""
        y = x.transpose(1, 2)
        for layer in self.layers:
            y = layer(y)
        return y.transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with biases everywhere."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(config.dim, config.dim)
        self.k_proj = nn.Linear(config.dim, config.dim)
        self.v_proj = nn.Linear(config.dim, config.dim)
        self.out_proj = nn.Linear(config.dim, config.dim)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], is_sound: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        """Every frame looks at every frame, or at those that `is_sound`."""
        q, k, v = (
            projection(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # [batch, heads, frames, dim / heads]
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = None if is_sound is None else is_sound[:, None, None]  # [batch, heads, queries, keys]
        y = F.scaled_dot_product_attention(q, k, v, seen, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.dim, config.ffn_dim)
        self.output_dense = nn.Linear(config.ffn_dim, config.dim)
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        """The block's result, before dropout and residual."""
        return self.output_dense(self.dropout(F.gelu(self.intermediate_dense(x))))


class TransformerLayer(nn.Module):
    """A post-norm layer."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.layer_norm = nn.LayerNorm(config.dim)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], is_sound: Bool[Tensor, "batch frames"] | None = None
    ) -> "LayerOutput":
        """The layer's output, and its feed-forward result before the residual."""
        x = self.layer_norm(x + self.dropout(self.attention(x, is_sound)))
        result = self.feed_forward(x)
        return LayerOutput(hidden=self.final_layer_norm(x + self.dropout(result)), result=result)


@dataclass(frozen=True, kw_only=True)
class LayerOutput:
    """What one layer gives."""

    hidden: Float[Tensor, "batch frames dim"]
    result: Float[Tensor, "batch frames dim"]  # data2vec's target: before dropout, residual and last norm


@dataclass(frozen=True, kw_only=True)
class TransformerOutput:
    """Everything a pass leaves."""

    hidden_states: tuple[Float[Tensor, "batch frames dim"], ...]  # the input of layer 1, then each layer's output
    layer_results: tuple[Float[Tensor, "batch frames dim"], ...]  # of the layers that were not skipped


class Transformer(nn.Module):
    """Positional convolution, layer norm, then post-norm layers; no norm after the last."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        stacked = config.pos_conv_depth > 1
        self.pos_conv_embed = StackedPositionalConv(config) if stacked else WeightNormPositionalConv(config)
        self.layer_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([TransformerLayer(config) for _ in range(config.num_layers)])
        self.layers.apply(_init_linear)
        self.recomputes_activations = False  # in the backward pass, instead of keeping them: less memory, more work

    def forward(
        self,
        x: Float[Tensor, "batch frames dim"],
        skip_layers: frozenset[int] = NO_LAYERS,
        is_sound: Bool[Tensor, "batch frames"] | None = None,
    ) -> TransformerOutput:
        """Run the layers.

        Args:
            x: projected features.
            skip_layers: layers left out, counted from 0; their hidden state repeats the one before.
            is_sound: false where a frame is padding: it enters as 0 and is not looked at; None if there is none.
        """
        if is_sound is not None:
            x = x * is_sound[..., None]
        x = self.dropout(self.layer_norm(x + self.pos_conv_embed(x)))
        hidden_states, layer_results = [x], []
        for index, layer in enumerate(self.layers):
            if index not in skip_layers:
                output = self._run(cast("TransformerLayer", layer), x, is_sound)
                x = output.hidden
                layer_results.append(output.result)
            hidden_states.append(x)
        return TransformerOutput(hidden_states=tuple(hidden_states), layer_results=tuple(layer_results))

    def _run(
        self,
        layer: TransformerLayer,
        x: Float[Tensor, "batch frames dim"],
        is_sound: Bool[Tensor, "batch frames"] | None,
    ) -> LayerOutput:
        if self.recomputes_activations and torch.is_grad_enabled():
            return checkpoint(layer, x, is_sound, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return layer(x, is_sound)


def _init_linear(module: nn.Module) -> None:
    """BERT's start, which HuBERT and data2vec use inside the layers; without it half precision overflows more."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
