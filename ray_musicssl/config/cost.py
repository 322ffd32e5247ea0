"""What a run costs, by arithmetic on its configuration: parameters, operations, GPU-hours.

Conventions:
    A multiply-add is 2 operations. Work is of one crop as it is computed (whole frames), or of a second of it.
    Layer drop, dropout, norms, activations and the loss's softmax are not counted as work.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.config.encoder import CONV_KERNELS, CONV_STRIDES
from ray_musicssl.config.masking import MaskingConfig
from ray_musicssl.config.pretrain import PretrainConfig

A100_TFLOP_PER_S = 312.0
"""Peak of an A100's bf16 matrix units, dense. Source: NVIDIA's data sheet."""
ASSUMED_MFU = 0.4
"""Share of the peak that training reaches; an assumption, measure yours (`data/audio_s_per_s` in TensorBoard)."""
TRAINING_FACTOR = 3  # forward, and twice its work backward: gradients of inputs and of weights


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of values, by part. Source: the reference models' counts (94,371,712 and 93,164,288 without a head)."""

    stem: int
    projection: int  # with the layer norm before it
    positional_conv: int
    transformer: int
    norm_and_mask: int  # the layer norm before the first layer; the mask vector
    head: int
    teacher: int  # a copy that is not trained

    @property
    def backbone(self) -> int:
        """What is kept when training is over."""
        return self.stem + self.projection + self.positional_conv + self.transformer + self.norm_and_mask

    @property
    def trained(self) -> int:
        """What the optimiser moves."""
        return self.backbone + self.head


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations of one forward pass over one crop, by part."""

    stem: int
    projection: int
    positional_conv: int
    linear: int  # the transformer's matrices
    attention: int  # scores and weighted sums: grows with the square of the crop
    head: int  # on the expected number of frames it runs on
    teacher: int  # its positional convolution and transformer; the stem is the student's

    @property
    def student(self) -> int:
        """All but the teacher."""
        return self.stem + self.projection + self.positional_conv + self.linear + self.attention + self.head

    @property
    def training(self) -> int:
        """Forward and backward of the student, forward of the teacher."""
        return TRAINING_FACTOR * self.student + self.teacher


@dataclass(frozen=True)
class Cost:
    """What one configuration costs."""

    config: PretrainConfig

    @cached_property
    def parameters(self) -> Parameters:
        """Exact counts."""
        encoder = self.config.encoder
        dim = encoder.dim
        width = encoder.conv_dim
        channels = (1, *[width] * (len(CONV_KERNELS) - 1))
        norms = 1 if encoder.conv_norm == "group" else len(CONV_KERNELS)
        positional = encoder.pos_conv_kernel * dim * dim // encoder.pos_conv_groups + dim
        if encoder.pos_conv_depth == 1:
            positional += encoder.pos_conv_kernel  # weight norm's lengths
        layers = encoder.num_layers * (4 * (dim * dim + dim) + 2 * dim * encoder.ffn_dim + encoder.ffn_dim + 5 * dim)
        positional *= encoder.pos_conv_depth
        return Parameters(
            stem=sum(k * c * width for k, c in zip(CONV_KERNELS, channels, strict=True)) + norms * 2 * width,
            projection=2 * width + width * dim + dim,
            positional_conv=positional,
            transformer=layers,
            norm_and_mask=3 * dim,
            head=sum(values for values, _ in self._heads),
            teacher=positional + layers + 2 * dim if self.has_teacher else 0,
        )

    @cached_property
    def work(self) -> Work:
        """Operations of a crop."""
        encoder = self.config.encoder
        dim, frames = encoder.dim, self.config.audio.crop_frames
        channels = (1, *[encoder.conv_dim] * (len(CONV_KERNELS) - 1))
        convs = zip(CONV_KERNELS, channels, stem_frames(self.config.audio.crop_samples), strict=True)
        # An even kernel computes one frame more than is kept.
        positional_frames = frames + (encoder.pos_conv_kernel % 2 == 0)
        positional = 2 * encoder.pos_conv_kernel * dim * (dim // encoder.pos_conv_groups) * positional_frames
        positional *= encoder.pos_conv_depth
        linear = 2 * encoder.num_layers * frames * (4 * dim * dim + 2 * dim * encoder.ffn_dim)
        attention = 4 * encoder.num_layers * frames * frames * dim
        return Work(
            stem=sum(2 * kernel * in_dim * encoder.conv_dim * t for kernel, in_dim, t in convs),
            projection=2 * encoder.conv_dim * dim * frames,
            positional_conv=positional,
            linear=linear,
            attention=attention,
            head=round(sum(operations for _, operations in self._heads) * frames * self.target_share),
            teacher=positional + linear + attention if self.has_teacher else 0,
        )

    @cached_property
    def audio_hours(self) -> float:
        """Hours of crops over the whole run."""
        audio = self.config.audio
        return self.config.training.max_steps * audio.batch_clips * audio.crop_s / 3600

    @cached_property
    def total_exaflop(self) -> float:
        """Operations of the whole run, in 10^18."""
        return self.config.training.max_steps * self.config.audio.batch_clips * self.work.training / 1e18

    @cached_property
    def busy_share(self) -> float:
        """Part of the workers' time that is filled: the last round of micro-batches may leave some idle."""
        audio = self.config.audio
        workers = max(self.config.scaling.num_workers, 1)
        rounds = -(-audio.num_micro_batches // workers)
        return audio.batch_clips / (rounds * workers * audio.micro_batch_clips)

    def gpu_hours(self, mfu: float = ASSUMED_MFU) -> float:
        """A100-hours of the whole run at a share `mfu` of the peak, without time spent idle."""
        return self.total_exaflop * 1e6 / (mfu * A100_TFLOP_PER_S) / 3600

    def days(self, mfu: float = ASSUMED_MFU) -> float:
        """Days on the configuration's number of A100s, waiting for each other's rounds included."""
        return self.gpu_hours(mfu) / self.busy_share / max(self.config.scaling.num_workers, 1) / 24

    def gflop_per_s(self) -> dict[str, float]:
        """10^9 operations of a forward pass for a second of audio, by part."""
        crop_s = self.config.audio.crop_samples / SAMPLE_RATE
        return {part: operations / crop_s / 1e9 for part, operations in asdict(self.work).items()}

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher runs beside the student."""
        return self.config.teacher is not None

    @property
    def _heads(self) -> list[tuple[int, int]]:
        """Parameters of each head, and its operations for one frame."""
        dim, prediction = self.config.encoder.dim, self.config.label_prediction
        regression = [(dim * dim + dim, 2 * dim * dim)] if self.has_teacher else []
        if prediction is None:
            return regression
        classes = [label.clustering.num_clusters for label in self.config.label_configs]
        width = prediction.label_dim
        return regression + [(dim * width + width + k * width, 2 * dim * width + 2 * k * width) for k in classes]

    @property
    def target_share(self) -> float:
        """About the share of the frames that the head sees."""
        prediction = self.config.label_prediction
        sees_all = prediction is not None and prediction.unmasked_weight > 0
        return 1.0 if sees_all else masked_share(self.config.masking, self.config.audio.crop_frames)


def stem_frames(num_samples: int) -> list[int]:
    """Frames after each convolution of the stem."""
    frames = []
    for kernel, stride in zip(CONV_KERNELS, CONV_STRIDES, strict=True):
        num_samples = (num_samples - kernel) // stride + 1
        frames.append(num_samples)
    return frames


def masked_share(masking: MaskingConfig, num_frames: int) -> float:
    """About the share of frames that spans hide, as if their starts were independent: near 1 - exp(-mask_prob).

    Within 2 points of what masks drawn as published hide (p=0.8: 57 %, p=0.65: 49 %).
    """
    spans = max(masking.min_masks, masking.mask_prob * num_frames / masking.mask_length)
    return 1 - (1 - min(masking.mask_length / num_frames, 1)) ** spans
