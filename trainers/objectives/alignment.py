"""How far a student's hidden states are from a teacher's, for pairs of blocks.

Legend: H supervised positions, d a model's width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def projection(*, teacher_width: int, student_width: int, seed: int, device: torch.device) -> torch.Tensor | None:
    """A fixed matrix (d of the teacher, d of the student) that is orthonormal along its shorter side; None where
    widths agree.

    Learning from hidden states goes back to FitNets (Romero et al. 2015, arXiv 1412.6550), where a regressor that
    bridges the widths is trained along. This one is drawn from the seed and stays: a trained one would have weights and
    moments of its own, which no checkpoint holds, and could move towards the student in place of the student towards
    the teacher. A random subspace keeps angles between states about as they are (Johnson and Lindenstrauss 1984);
    towards a greater width all are kept exactly.
    """
    if teacher_width == student_width:
        return None
    generator = torch.Generator().manual_seed(seed)
    wide, narrow = max(teacher_width, student_width), min(teacher_width, student_width)
    gaussian = torch.randn((wide, narrow), generator=generator, dtype=torch.float64)
    matrix = torch.linalg.qr(gaussian).Q.float().to(device)
    return matrix if teacher_width == wide else matrix.T.contiguous()


def alignment_losses(
    student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], matrix: torch.Tensor | None
) -> torch.Tensor:
    """Mean over the pairs of the mean squared distance (H,) between states scaled to unit RMS; from 0 to 4.

    Scaled so, a block that writes large states counts as one that writes small ones, and the distance is
    2 - 2 cos(student, teacher): the cosine loss of DistilBERT (Sanh et al. 2019, arXiv 1910.01108), twice.

    Args:
        student: an output (H, d of the student) for every pair.
        teacher: the outputs (H, d of the teacher) they are compared with, which get no gradient.
        matrix: what `projection` gives for these widths.
    """
    total_H = torch.zeros(len(student[0]), device=student[0].device)
    for student_Hd, teacher_Hd in zip(student, teacher, strict=True):
        target_Hd = teacher_Hd.detach() if matrix is None else teacher_Hd.detach() @ matrix
        total_H = total_H + 2 - 2 * F.cosine_similarity(student_Hd.float(), target_Hd.float(), dim=-1)
    return total_H / len(student)
