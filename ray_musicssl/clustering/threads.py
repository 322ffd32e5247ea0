"""How many threads matrix products use."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looking the libraries up takes milliseconds: once a process


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run matrix products, numpy's and torch's, on one thread while the block runs."""
    import torch  # noqa: PLC0415  (seconds to load; who only names this module's callers does not pay them)

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(num_threads)
