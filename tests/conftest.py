"""What holds for every test: one thread, no network, no telemetry, the same examples every time.

The environment is set here because torch, transformers and ray read it while they are imported.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings

os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    RAY_USAGE_STATS_ENABLED="0",
    MPLBACKEND="Agg",
)

# A shell that runs the tests in the background has them ignore interrupts, and so would every run that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")
