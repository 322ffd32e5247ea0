"""Keeping half-precision gradients in range: the loss is multiplied before the backward pass, the gradient divided after.

Conventions:
    A step whose gradient overflows is skipped and halves the factor; a stretch of clean steps doubles it. All workers see the
    same reduced gradient, so their factors stay equal without being exchanged.
"""

from dataclasses import dataclass

from ray_musicssl.errors import DivergedError

# Source: fairseq's dynamic loss scale: starts at 128, doubles after 2^14 / 32 workers = 512 clean steps, gives up at 1e-4.
START = 128.0
CLEAN_STEPS = 512
LEAST = 1e-4


@dataclass
class LossScale:
    """The factor and how long it has been good."""

    value: float = START
    num_clean: int = 0

    def update(self, *, is_finite: bool) -> None:
        """Learn from a step.

        Raises:
            DivergedError: if the gradient overflows whatever the factor.
        """
        if is_finite:
            self.num_clean += 1
            if self.num_clean == CLEAN_STEPS:
                self.value, self.num_clean = self.value * 2, 0
            return
        self.value, self.num_clean = self.value / 2, 0
        if self.value <= LEAST:
            raise DivergedError(
                f"the gradient is not finite at a loss scale of {self.value:g} (training.precision=fp16); lower "
                f"optim.peak_lr, or use training.precision=bf16 or fp32"
            )
