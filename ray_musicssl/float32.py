"""Products in whole float32: on a GPU a process may have asked for TF32, which keeps 10 bits of each factor."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import cuda, cudnn


@contextmanager
def without_tf32() -> Iterator[None]:
    """No TF32 in here, in products or convolutions, whatever the process has asked for elsewhere."""
    before = cuda.matmul.allow_tf32, cudnn.allow_tf32
    cuda.matmul.allow_tf32, cudnn.allow_tf32 = False, False
    try:
        yield
    finally:
        cuda.matmul.allow_tf32, cudnn.allow_tf32 = before
