"""All that training needs to go on bit by bit: fp32 weights, AdamW moments and the data cursor, in one folder.

    NAME/state.safetensors     weight.*, first_moment.*, second_moment.*, step.*, of what is trained
    NAME/cursor.json           rows drawn so far under each data order, and the digest of what is frozen

Data order and the random numbers of rollouts are functions of seed, plan and cursor, and dropout is off, so there is no
generator state to keep.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

STATE_FILE = "state.safetensors"
CURSOR_FILE = "cursor.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState:
    """Tensors by name, and rows drawn by `rows_digest`. The tensors may be live ones: save or copy before moving on."""

    tensors: dict[str, torch.Tensor]
    drawn: dict[str, int]
    frozen: str = ""  # digest of the weights that are not trained, which the state needs beside it; "" where all are

    def digest(self) -> str:
        """sha256 of every tensor's bytes and of the cursor."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            _update(digest, name, self.tensors[name])
        digest.update(json.dumps(self.drawn, sort_keys=True).encode())
        digest.update(self.frozen.encode())
        return digest.hexdigest()


def _update(digest: hashlib._Hash, name: str, tensor: torch.Tensor) -> None:
    digest.update(f"{name}\0".encode())
    array = tensor.detach().cpu().contiguous().numpy()
    digest.update(array.reshape(-1).view(np.uint8).data)


def trained_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that are not frozen, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def frozen_digest(model: torch.nn.Module) -> str:
    """sha256 of every frozen parameter's bytes; empty where there is none."""
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    if not frozen:
        return ""
    digest = hashlib.sha256()
    for name in sorted(frozen):
        _update(digest, name, frozen[name])
    return digest.hexdigest()


def gather_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, drawn: dict[str, int], *, frozen: str = ""
) -> TrainingState:
    """The live state of what is trained, without copying. Moments that do not exist yet are zeros."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in trained_parameters(model).items():
        moments = optimizer.state.get(parameter, {})
        if not moments:  # a parameter that no gradient has reached
            zeros = torch.zeros_like(parameter.data)
            moments = {"exp_avg": zeros, "exp_avg_sq": zeros.clone(), "step": torch.zeros(())}
        tensors[f"weight.{name}"] = parameter.data
        tensors[f"first_moment.{name}"] = moments["exp_avg"]
        tensors[f"second_moment.{name}"] = moments["exp_avg_sq"]
        tensors[f"step.{name}"] = moments["step"].reshape(1)
    return TrainingState(tensors=tensors, drawn=dict(drawn), frozen=frozen)


def restore_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, *, frozen: str = ""
) -> None:
    """Put a state into a model and its optimizer, on the model's device.

    Args:
        frozen: `frozen_digest` of the model.

    Raises:
        ValueError: the state belongs to another model; the first differing names are given.
    """
    trained = trained_parameters(model)
    names = set(trained)
    saved = {name.removeprefix("weight.") for name in state.tensors if name.startswith("weight.")}
    if names != saved:
        raise ValueError(f"the checkpoint is of another model: {sorted(names ^ saved)[:3]} differ")
    if state.frozen != frozen:
        raise ValueError("the checkpoint's adapters belong to another model: its frozen weights are not these")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state.tensors[f"weight.{name}"])
            # A file is read into host memory, and the fused optimizer wants its moments and step beside the weights.
            optimizer.state[parameter] = {
                "step": state.tensors[f"step.{name}"].reshape(()).to(parameter.device, copy=True),
                "exp_avg": state.tensors[f"first_moment.{name}"].to(parameter.device, copy=True),
                "exp_avg_sq": state.tensors[f"second_moment.{name}"].to(parameter.device, copy=True),
            }


def save_state(state: TrainingState, folder: Path) -> None:
    """Write aside, flush to disk, then rename: a checkpoint is whole or absent."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    aside.mkdir()
    try:
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, aside / STATE_FILE)
    except SafetensorError as error:  # it wraps what the disk said
        raise OSError(f"checkpoint {folder.name} cannot be written to {folder.parent}: {error}") from None
    cursor = {"drawn": state.drawn, "frozen": state.frozen}
    (aside / CURSOR_FILE).write_text(json.dumps(cursor, sort_keys=True))
    for path in (aside / STATE_FILE, aside / CURSOR_FILE, aside):
        _flush(path)
    if folder.exists():  # left by an attempt that was cut off after its rename
        shutil.rmtree(folder)
    os.rename(aside, folder)
    _flush(folder.parent)  # else a power cut may take back the name of a checkpoint that was recorded since


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def load_state(folder: Path) -> TrainingState:
    """Read a checkpoint.

    Raises:
        ValueError: there is none there.
    """
    if not (folder / STATE_FILE).exists():
        raise ValueError(f"no checkpoint at {folder}")
    cursor = json.loads((folder / CURSOR_FILE).read_text())
    return TrainingState(
        tensors=load_file(folder / STATE_FILE),
        drawn={str(key): int(rows) for key, rows in cursor["drawn"].items()},
        frozen=str(cursor["frozen"]),
    )
