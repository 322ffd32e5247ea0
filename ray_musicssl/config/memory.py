"""What a run holds in memory on one worker, by arithmetic on its configuration.

Conventions:
    Bytes. Weights, gradients, optimiser and teacher follow exactly from the parameter count; activations are an estimate of
    one micro-batch at its most: the loss is known and nothing is freed yet.
"""

from dataclasses import asdict, dataclass

from ray_musicssl.config.cost import Cost, stem_frames
from ray_musicssl.config.encoder import CONV_KERNELS
from ray_musicssl.config.pretrain import PretrainConfig

FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one worker. All but the activations follow exactly from the parameter count."""

    weights: int
    gradients: int
    optimizer: int  # AdamW's two averages
    teacher: int
    ordered_sum: int  # a second gradient buffer, with `training.reduce=ordered`
    activations: int  # an estimate, of one micro-batch

    @property
    def total(self) -> int:
        """All of it; workspace of kernels and what the allocator cannot reuse come on top."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class _KeptBytes:
    """Bytes that one value of each kind leaves for the backward pass, in the order of the fields below."""

    normed: int  # channel of a convolution with a norm: the norm's input and output, the next layer's input
    plain: int  # channel of a convolution without one
    position: int  # channel of a positional convolution
    width: int  # channel of a transformer layer: its norms, queries, keys, values, attention, two dropout masks
    ffn: int  # channel of a feed-forward block, before and after its activation


# Norms run in float32 under bf16 too, and each product keeps its own bf16 copy of a float32 input.
_KEPT = {
    "bf16": _KeptBytes(normed=10, plain=4, position=10, width=26, ffn=4),
    "fp32": _KeptBytes(normed=12, plain=8, position=12, width=34, ffn=8),
}
ACTIVATION_FORMULA = (
    "bytes in bf16 (in fp32) that the backward pass needs: 10 (12) a channel and frame of a stem convolution with a norm, "
    "4 (8) without; "
    "10 (12) x dim a frame of a positional convolution; "
    "26 (34) x dim + 4 (8) x ffn_dim a frame and layer, attention being fused so that no scores are kept; "
    "and beside them 4 x dim a frame and hidden state, 8 a class and masked frame; "
    "of a teacher 6 x dim a frame and layer, 12 x dim a frame and target layer; "
    "under bf16 the weights' copies, 2 a value"
)


def memory_of(config: PretrainConfig) -> Memory:
    """What one worker of a run holds."""
    parameters = Cost(config).parameters
    trained = parameters.trained * FLOAT32_BYTES
    copied = 2 * (parameters.trained + parameters.teacher) if config.training.precision == "bf16" else 0
    return Memory(
        weights=trained,
        gradients=trained,
        optimizer=2 * trained,
        teacher=parameters.teacher * FLOAT32_BYTES,
        ordered_sum=trained if config.training.reduce == "ordered" else 0,
        activations=config.audio.micro_batch_clips * round(_kept_bytes(config) + _passing_bytes(config)) + copied,
    )


def _kept_bytes(config: PretrainConfig) -> float:
    """What the encoder keeps of one crop for its backward pass."""
    encoder, frames = config.encoder, config.audio.crop_frames
    kept = _KEPT[config.training.precision]
    num_normed = 1 if encoder.conv_norm == "group" else len(CONV_KERNELS)
    stem = sum(
        t * encoder.conv_dim * (kept.normed if index < num_normed else kept.plain)
        for index, t in enumerate(stem_frames(config.audio.crop_samples))
    )
    positional = encoder.pos_conv_depth * kept.position * encoder.dim * frames
    layers = encoder.num_layers * (kept.width * encoder.dim + kept.ffn * encoder.ffn_dim) * frames
    return stem + positional + layers


def _passing_bytes(config: PretrainConfig) -> float:
    """What else of one crop is there when its loss is known: hidden states, logits, the teacher's layers and targets."""
    encoder, frames = config.encoder, config.audio.crop_frames
    hidden = (encoder.num_layers + 1) * FLOAT32_BYTES * encoder.dim * frames
    classes = sum(label.clustering.num_clusters for label in config.label_configs)
    logits = 8 * classes * frames * Cost(config).target_share
    teacher = 0
    if config.teacher:
        teacher = (6 * encoder.num_layers + 12 * config.teacher.top_k) * encoder.dim * frames
    return hidden + logits + teacher
