"""A process that computes: its threads, and the chatter of the libraries in it."""

from __future__ import annotations

import logging
import os
import warnings

import datasets
import torch
import transformers


def set_up_process(*, threads: int) -> None:
    """Use exactly `threads` threads, and keep the libraries' progress bars and notices out of the output.

    Three busy threads on two cores slow a small model tenfold, so nothing here may take more than it was given.
    """
    torch.set_num_threads(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def default_device() -> str:
    """The accelerator where this process sees one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
