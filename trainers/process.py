"""A process that computes: its threads, and the chatter of the libraries in it."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import platform
import warnings

import datasets
import torch
import transformers

from trainers.jobs import Precision

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def set_up_process(*, threads: int, keep_freed_memory: bool = True) -> None:
    """Use exactly `threads` threads, and keep the libraries' progress bars and notices out of the output.

    Three busy threads on two cores slow a small model tenfold, so nothing here may take more than it was given. Freed
    memory is kept until `return_freed_memory`, unless a yardstick wants the C library as it is.
    """
    torch.set_num_threads(threads)
    if keep_freed_memory:
        _keep_freed_memory()
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    # What the libraries brought is here to stay. Unfrozen, the garbage collector walks through all of it whenever
    # a stage begins (accelerate asks it to): most of the time between two stages of a small student.
    gc.freeze()


def _keep_freed_memory() -> None:
    """Let the C library keep what it frees until `return_freed_memory`.

    By itself it gives memory back after every step and asks for it again in the next: up to 500 page faults a step of
    a small student, 3% of its time. Blocks of 32 MiB and more, its own highest threshold, go back at once as before.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_MMAP_THRESHOLD, 2**25)


def return_freed_memory() -> None:
    """Give back what the C library keeps for later: after training a 0.1 B student 0.6 to 1.7 GB, in 0.03 s."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def default_precision() -> Precision:
    """bf16 on an accelerator that computes it. On a CPU fp32, which alone replays bit for bit on any of its kind."""
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def default_device() -> str:
    """The accelerator where this process sees one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
