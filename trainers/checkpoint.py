"""All that training needs to go on bit by bit: fp32 weights, AdamW moments and the data cursor, in one folder.

    NAME/state.safetensors     weight.*, first_moment.*, second_moment.*, step.*
    NAME/cursor.json           rows drawn so far under each data order

Training itself draws no random numbers (data order is a function of seed, plan and cursor; dropout is refused), so
there is no generator state to keep.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

STATE_FILE = "state.safetensors"
CURSOR_FILE = "cursor.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState:
    """Tensors by name, and rows drawn by `rows_digest`. The tensors may be the live ones: save or copy before moving on."""

    tensors: dict[str, torch.Tensor]
    drawn: dict[str, int]

    def digest(self) -> str:
        """sha256 of every tensor's bytes and of the cursor."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            digest.update(f"{name}\0".encode())
            digest.update(memoryview(self.tensors[name].detach().contiguous().cpu().flatten().numpy()))
        digest.update(json.dumps(self.drawn, sort_keys=True).encode())
        return digest.hexdigest()


def gather_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer, drawn: dict[str, int]) -> TrainingState:
    """The live state, without copying. Moments that do not exist yet are zeros."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        moments = optimizer.state.get(parameter, {})
        tensors[f"weight.{name}"] = parameter.data
        tensors[f"first_moment.{name}"] = moments.get("exp_avg", torch.zeros_like(parameter))
        tensors[f"second_moment.{name}"] = moments.get("exp_avg_sq", torch.zeros_like(parameter))
        tensors[f"step.{name}"] = moments.get("step", torch.zeros(())).reshape(1)
    return TrainingState(tensors=tensors, drawn=dict(drawn))


def restore_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Put a state into a model and its optimizer.

    Raises:
        ValueError: the state belongs to another model; the first differing names are given.
    """
    names = {name for name, _ in model.named_parameters()}
    saved = {name.removeprefix("weight.") for name in state.tensors if name.startswith("weight.")}
    if names != saved:
        raise ValueError(f"the checkpoint is of another model: {sorted(names ^ saved)[:3]} differ")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state.tensors[f"weight.{name}"])
            optimizer.state[parameter] = {
                "step": state.tensors[f"step.{name}"].reshape(()).clone(),
                "exp_avg": state.tensors[f"first_moment.{name}"].clone(),
                "exp_avg_sq": state.tensors[f"second_moment.{name}"].clone(),
            }


def save_state(state: TrainingState, folder: Path) -> None:
    """Write aside, flush to disk, then rename: a checkpoint is whole or absent."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    aside.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, aside / STATE_FILE)
    (aside / CURSOR_FILE).write_text(json.dumps(state.drawn, sort_keys=True))
    for name in (STATE_FILE, CURSOR_FILE):
        descriptor = os.open(aside / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    if folder.exists():  # left by an attempt that was cut off after its rename
        shutil.rmtree(folder)
    os.rename(aside, folder)


def load_state(folder: Path) -> TrainingState:
    """Read a checkpoint.

    Raises:
        ValueError: there is none there.
    """
    if not (folder / STATE_FILE).exists():
        raise ValueError(f"no checkpoint at {folder}")
    drawn = json.loads((folder / CURSOR_FILE).read_text())
    return TrainingState(tensors=load_file(folder / STATE_FILE), drawn={str(k): int(v) for k, v in drawn.items()})
