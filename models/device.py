"""Where a network trains, and under which rules of arithmetic."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# cuBLAS is deterministic only with a workspace of fixed size, and reads this when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def arithmetic(seed: int, threads: int, *, deterministic: bool) -> Iterator[None]:
    """``threads`` CPU threads, torch's global generators seeded, and put back afterwards.

    On a CPU the kernels are always deterministic, which costs nothing there; on a GPU if asked.
    """
    torch.set_num_threads(threads)
    exact = deterministic or device().type == "cpu"
    torch.use_deterministic_algorithms(exact)
    torch.backends.cudnn.benchmark = not exact
    torch.set_float32_matmul_precision("highest" if exact else "high")
    # On by default in deterministic mode: it fills every uninitialised tensor with NaN before use, at a cost in time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
