"""One fingerprint for a stage plan: the same plan has the same digest on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from curricula.types import StagePlan


def plan_digest(plan: StagePlan) -> str:
    """SHA-256, in hex, over every field of a plan.

    Integer arrays count as little-endian int32, others as float64, so that a plan built from lists, int64 or
    big-endian arrays has the digest of the same plan built from the declared types.
    """
    probe = plan.probe
    header = {
        "name": plan.name,
        "ceiling_flops": int(plan.ceiling_flops),
        "start": plan.start,
        "probe_modes": None if probe is None else list(probe.modes),
        "probe_supervisions": None if probe is None else list(probe.supervisions),
        "recipe": dataclasses.asdict(plan.recipe),
    }
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    _add(digest, "example_R", plan.example_R, "<i4")
    _add(digest, "supervision_R", plan.supervision_R, "<i4")
    _add(digest, "share_R", plan.share_R, "<f8")
    _add(digest, "loss_weight_R", plan.loss_weight_R, "<f8")
    _add(digest, "probe.example_P", None if probe is None else probe.example_P, "<i4")
    _add(digest, "score_example_M", plan.score_example_M, "<i4")
    _add(digest, "score_supervision_M", plan.score_supervision_M, "<i4")
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, array: NDArray[np.generic] | None, dtype: str) -> None:
    # The name and the shape keep two neighbouring arrays from sharing their bytes.
    if array is None:
        digest.update(f"{name}:none;".encode())
        return
    canonical = np.ascontiguousarray(array, dtype=np.dtype(dtype))
    digest.update(f"{name}:{canonical.shape};".encode())
    digest.update(canonical.data)
