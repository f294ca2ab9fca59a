"""Checkpoints: what is saved is what is read, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.checkpoint import gather_state, load_state, restore_state, save_state


def _model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2))


def _optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=0.1)


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_model_goes_on_as_the_saved_one(tmp_path: Path) -> None:
    model = _model(0)
    optimizer = _optimizer(model)
    _step(model, optimizer)
    saved = gather_state(model, optimizer, {"k": 7})
    save_state(saved, tmp_path / "0000")
    loaded = load_state(tmp_path / "0000")
    assert loaded.digest() == saved.digest()
    assert loaded.drawn == {"k": 7}
    twin = _model(1)
    its_optimizer = _optimizer(twin)
    restore_state(twin, its_optimizer, loaded)
    _step(model, optimizer)
    _step(twin, its_optimizer)
    assert gather_state(twin, its_optimizer, {}).digest() == gather_state(model, optimizer, {}).digest()


def test_moments_that_do_not_exist_yet_are_zeros(tmp_path: Path) -> None:
    model = _model(0)
    save_state(gather_state(model, _optimizer(model), {}), tmp_path / "0000")
    tensors = load_state(tmp_path / "0000").tensors
    assert all(not tensor.any() for name, tensor in tensors.items() if not name.startswith("weight."))


def test_live_tensors_are_not_copied() -> None:
    model = _model(0)
    optimizer = _optimizer(model)
    _step(model, optimizer)
    tensors = gather_state(model, optimizer, {}).tensors
    for name, parameter in model.named_parameters():
        assert tensors[f"weight.{name}"].data_ptr() == parameter.data_ptr()
        assert tensors[f"first_moment.{name}"] is optimizer.state[parameter]["exp_avg"]


def test_the_digest_knows_every_tensor_and_the_cursor() -> None:
    model = _model(0)
    optimizer = _optimizer(model)
    digests = {gather_state(model, optimizer, drawn).digest() for drawn in ({}, {"k": 1})}
    with torch.no_grad():
        next(iter(model.parameters()))[0, 0] += 1.0
    digests.add(gather_state(model, optimizer, {}).digest())
    _step(model, optimizer)
    digests.add(gather_state(model, optimizer, {}).digest())
    assert len(digests) == 4


def test_a_later_save_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    model = _model(0)
    optimizer = _optimizer(model)
    save_state(gather_state(model, optimizer, {}), tmp_path / "0000")
    save_state(gather_state(model, optimizer, {"k": 1}), tmp_path / "0000")
    assert [path.name for path in tmp_path.iterdir()] == ["0000"]
    assert load_state(tmp_path / "0000").drawn == {"k": 1}


def test_a_state_of_another_model_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    model, other = _model(0), torch.nn.Linear(3, 5)
    state = gather_state(other, _optimizer(other), {})
    with pytest.raises(ValueError, match="of another model"):
        restore_state(model, _optimizer(model), state)
    with pytest.raises(ValueError, match="no checkpoint at"):
        load_state(tmp_path / "none")
