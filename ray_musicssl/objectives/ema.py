"""A teacher whose weights are a running average of the student's."""

import copy
from collections.abc import Collection

import torch
from torch import nn


def ema_decay(step: int, *, start: float, end: float, ramp_steps: float) -> float:
    """The share of the teacher that stays at optimiser step `step`: rises linearly, then stands.

    Source: data2vec (0.999 -> 0.9999 over 30,000 steps).
    """
    if step >= ramp_steps:
        return end
    return start + (end - start) * step / ramp_steps


class EmaTeacher(nn.Module):
    """A float32 copy of a module that follows it and is never trained."""

    def __init__(self, student: nn.Module, *, copied: Collection[str] = ()) -> None:
        """Start as an exact copy.

        Args:
            student: the module to follow.
            copied: names of submodules whose weights are taken over instead of averaged.
        """
        super().__init__()
        self.module = copy.deepcopy(student).float().eval().requires_grad_(requires_grad=False)
        self._copied = tuple(copied)

    def train(self, mode: bool = True) -> "EmaTeacher":  # noqa: FBT001, FBT002  (torch's own signature)
        """Stay in evaluation whatever the student does: a teacher has no dropout."""
        super().train(mode)
        self.module.eval()
        return self

    @torch.no_grad()
    def follow(self, student: nn.Module, decay: float) -> None:
        """Move to `decay * teacher + (1 - decay) * student`."""
        averaged: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        taken: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        theirs = dict(student.named_parameters())
        for name, mine in self.module.named_parameters():
            group = taken if name.split(".")[0] in self._copied else averaged
            group[0].append(mine)
            group[1].append(theirs[name].float())
        torch._foreach_lerp_(averaged[0], averaged[1], 1 - decay)
        if taken[0]:
            torch._foreach_copy_(taken[0], taken[1])
        for mine, student_buffer in zip(self.module.buffers(), student.buffers(), strict=True):
            mine.copy_(student_buffer)
