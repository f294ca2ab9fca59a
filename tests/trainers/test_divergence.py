"""Divergences and distances agree with independent references, chunked or not, and give the gradients they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, kl_divergence

from curricula.recipe import DIVERGENCES, Divergence
from trainers.objectives import divergence as module
from trainers.objectives.alignment import alignment_losses, projection
from trainers.objectives.divergence import divergence_losses

CPU = torch.device("cpu")


def _reference(
    student_HV: torch.Tensor, teacher_HV: torch.Tensor, kind: Divergence, temperature: float
) -> torch.Tensor:
    """By torch's own distributions, as the definitions read."""
    teacher, student = Categorical(logits=teacher_HV / temperature), Categorical(logits=student_HV / temperature)
    if kind == "forward":
        return kl_divergence(teacher, student)
    if kind == "reverse":
        return kl_divergence(student, teacher)
    middle = Categorical(probs=(teacher.probs + student.probs) / 2)
    return (kl_divergence(teacher, middle) + kl_divergence(student, middle)) / 2


def _logits(*, rows: int, vocabulary: int, seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student_HV, teacher_HV = scale * torch.randn((2, rows, vocabulary), generator=generator)
    return student_HV.clone().requires_grad_(True), teacher_HV.clone()


@given(
    divergence=st.sampled_from(DIVERGENCES),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 8.0]),
    vocabulary=st.integers(1, 40),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_divergences_and_their_gradients_are_those_of_a_reference_in_double_precision(
    divergence: Divergence, temperature: float, vocabulary: int, scale: float, seed: int
) -> None:
    student_HV, teacher_HV = _logits(rows=5, vocabulary=vocabulary, seed=seed, scale=scale)
    ours_H = divergence_losses(
        student_HV, teacher_HV, vocabulary=vocabulary, divergence=divergence, temperature=temperature
    )
    student64_HV = student_HV.detach().double().requires_grad_(True)
    theirs_H = temperature**2 * _reference(student64_HV, teacher_HV.double(), divergence, temperature)
    weight_H = torch.arange(1.0, 6.0)
    (ours_H * weight_H).sum().backward()
    (theirs_H * weight_H).sum().backward()
    assert student_HV.grad is not None and student64_HV.grad is not None
    assert torch.allclose(ours_H.double(), theirs_H, rtol=1e-4, atol=1e-4)
    assert torch.allclose(student_HV.grad.double(), student64_HV.grad, rtol=1e-4, atol=1e-4)
    assert (ours_H > -1e-4).all()


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_chunks_change_nothing(divergence: Divergence, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, losses = [], []
    for chunk in (1 << 20, 60):
        monkeypatch.setattr(module, "CHUNK_LOGITS", chunk)
        student_HV, teacher_HV = _logits(rows=17, vocabulary=20, seed=1)
        loss_H = divergence_losses(student_HV, teacher_HV, vocabulary=20, divergence=divergence, temperature=2.0)
        (loss_H * torch.arange(17.0)).sum().backward()
        assert student_HV.grad is not None
        losses.append(loss_H.detach())
        gradients.append(student_HV.grad)
    assert torch.allclose(losses[0], losses[1])
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_columns_beyond_the_vocabulary_are_left_out_on_either_side(divergence: Divergence) -> None:
    student_HV, teacher_HV = _logits(rows=4, vocabulary=9, seed=2)
    alone_H = divergence_losses(student_HV, teacher_HV, vocabulary=9, divergence=divergence, temperature=1.0)
    padded_H = divergence_losses(
        F.pad(student_HV, (0, 3), value=50.0),
        F.pad(teacher_HV, (0, 7), value=50.0),
        vocabulary=9,
        divergence=divergence,
        temperature=1.0,
    )
    assert torch.equal(alone_H, padded_H)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_hot_divergence_weighs_as_the_squared_distance_of_logits_whatever_the_temperature(
    divergence: Divergence,
) -> None:
    """Hinton et al.: as T grows, T^2 KL tends to the variance over tokens of the difference of logits, halved; an
    eighth for Jensen-Shannon, whose second derivative is a quarter of KL's."""
    student_HV, teacher_HV = _logits(rows=4, vocabulary=11, seed=3)
    loss_H = divergence_losses(student_HV, teacher_HV, vocabulary=11, divergence=divergence, temperature=1e2)
    variance_H = (student_HV - teacher_HV).var(-1, correction=0)
    share = 1 / 8 if divergence == "jensen_shannon" else 1 / 2
    assert torch.allclose(loss_H, share * variance_H, rtol=0.1)


def test_the_distance_is_the_mean_square_between_states_of_unit_rms() -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(2, 3, 6, 8))  # pairs, positions, width
    teacher = 50 * teacher
    unit = [state / np.sqrt((state**2).mean(-1, keepdims=True)) for state in (student, teacher)]
    expected_H = ((unit[0] - unit[1]) ** 2).mean(-1).mean(0)
    ours_H = alignment_losses(list(torch.tensor(student).float()), list(torch.tensor(teacher).float()), None)
    assert np.allclose(ours_H.numpy(), expected_H, atol=1e-5)
    assert np.allclose(alignment_losses(list(torch.tensor(teacher)), list(torch.tensor(teacher)), None), 0.0, atol=1e-6)


@pytest.mark.parametrize(("teacher_width", "student_width"), [(12, 5), (5, 12)])
def test_a_projection_is_orthonormal_and_drawn_from_its_seed_alone(teacher_width: int, student_width: int) -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.randn(3)
        matrix = projection(teacher_width=teacher_width, student_width=student_width, seed=seed, device=CPU)
        assert matrix is not None
        return matrix

    matrix = drawn(1)
    assert matrix.shape == (teacher_width, student_width)
    shorter = matrix.T @ matrix if teacher_width > student_width else matrix @ matrix.T
    assert torch.allclose(shorter, torch.eye(5), atol=1e-6)
    assert torch.equal(matrix, drawn(1))
    assert not torch.allclose(matrix, drawn(2))
    assert projection(teacher_width=7, student_width=7, seed=1, device=CPU) is None
