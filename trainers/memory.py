"""The most memory that this process held: since it began, and since a stage began."""

from __future__ import annotations

import resource
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Peaks of resident memory, and of what torch allocated on an accelerator."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._earlier = 0  # resident peak before the last reset, which forgets it
        self._marked = False

    def begin(self) -> None:
        """Forget earlier peaks, where the system can: from here on a peak is that of what is done now.

        On Linux, writing 5 to /proc/self/clear_refs sets the peak to what is held (proc(5)); elsewhere, and where that
        is not allowed, nothing can.
        """
        self._earlier = self.resident_bytes()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            _CLEAR_REFS.write_text("5")
            self._marked = True
        except OSError:
            self._marked = False

    def since_begin(self) -> int | None:
        """Bytes held at most since `begin`; None where earlier peaks could not be forgotten.

        On an accelerator what torch allocated there, on a CPU all of the process: weights, gradients, moments and
        activations, and the libraries and the corpus too.
        """
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _resident_peak() if self._marked else None

    def resident_bytes(self) -> int:
        """Most memory that this process has held in its life, that of an accelerator not counted."""
        return max(self._earlier, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _resident_peak() -> int:
    """VmHWM; Linux alone gets here."""
    line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
