"""How far a student's next-token distribution is from a teacher's, position by position.

Legend: H supervised positions, V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from curricula.recipe import Divergence

CHUNK_LOGITS = 1 << 20
"""About how many logits are turned into probabilities at once: an (H, V) block of them is held for no position longer
than its chunk takes, forward and backward."""


def divergence_losses(
    student_HV: torch.Tensor,
    teacher_HV: torch.Tensor,
    *,
    vocabulary: int,
    divergence: Divergence,
    temperature: float,
) -> torch.Tensor:
    """Divergence in nats (H,) over the first `vocabulary` tokens, times the squared temperature.

    With p the teacher's distribution, q the student's, both softmax(logits / T), and m = (p + q) / 2:

        forward          KL(p || q)                      soft targets: Hinton et al. 2015, arXiv 1503.02531
        reverse          KL(q || p)                      MiniLLM: Gu et al. 2024, arXiv 2306.08543
        jensen_shannon   (KL(p || m) + KL(q || m)) / 2   GKD: Agarwal et al. 2024, arXiv 2306.13649, with beta = 1/2

    Gradients of each shrink with 1 / T^2, so all are multiplied by T^2, as Hinton et al. do where soft targets stand
    beside hard ones: a weight means the same at every temperature. (GKD does not.) Probabilities are taken in fp32,
    a chunk of positions at a time, and once more in the backward pass, so that only logits are held.

    Args:
        student_HV, teacher_HV: logits in any precision; either may have more columns than `vocabulary`. No gradient
            goes to the teacher's.
    """
    rows = max(1, CHUNK_LOGITS // vocabulary)
    parts = [
        checkpoint(
            _divergence,
            student_hV[:, :vocabulary],
            teacher_hV[:, :vocabulary],
            divergence,
            temperature,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for student_hV, teacher_hV in zip(student_HV.split(rows), teacher_HV.detach().split(rows), strict=True)
    ]
    return temperature**2 * torch.cat(parts)


def _divergence(
    student_hV: torch.Tensor, teacher_hV: torch.Tensor, divergence: Divergence, temperature: float
) -> torch.Tensor:
    log_q_hV = F.log_softmax(student_hV.float() / temperature, dim=-1)
    log_p_hV = F.log_softmax(teacher_hV.float() / temperature, dim=-1)
    if divergence == "forward":
        return _kl(log_p_hV, log_q_hV)
    if divergence == "reverse":
        return _kl(log_q_hV, log_p_hV)
    log_m_hV = torch.logaddexp(log_p_hV, log_q_hV) - math.log(2.0)
    return (_kl(log_p_hV, log_m_hV) + _kl(log_q_hV, log_m_hV)) / 2


def _kl(log_p_hV: torch.Tensor, log_q_hV: torch.Tensor) -> torch.Tensor:
    """KL(p || q) in nats (h,)."""
    return F.kl_div(log_q_hV, log_p_hV, reduction="none", log_target=True).sum(-1)
