"""The objectives of a recipe in one weighted sum: the target's text, a teacher's logits, a teacher's hidden states.

    teacher --no gradient--> states, logits --+
    student ------> states of aligned blocks --+--> text * nats + logits * divergence + hidden * distance, per position
                    logits --------------------+

Legend: H supervised positions (rounded up), V vocabulary, d a model's width.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from curricula.recipe import Recipe
from trainers.collate import Batch, head_logits, supervised_states, token_losses
from trainers.jobs import StageError
from trainers.objectives.alignment import alignment_losses, projection
from trainers.objectives.divergence import divergence_losses
from trainers.objectives.objective import Losses, Objective, text_losses
from trainers.objectives.teacher import WhiteBoxTeacher
from trainers.pricing.step_price import StepPrice
from trainers.tokens import IGNORED_LABEL


@dataclass(frozen=True, kw_only=True, eq=False)
class Distillation:
    """What a recipe minimises, with a teacher where it asks for one.

    Example:
        Distillation(recipe=Recipe(logits=1.0), teacher=teacher)
    """

    recipe: Recipe
    teacher: WhiteBoxTeacher | None
    matrix: torch.Tensor | None = None  # from the teacher's width to the student's; None where they agree

    def __call__(self, model: PreTrainedModel, batch: Batch) -> Losses:
        """The weighted sum at every supervised position, and the nats of its token.

        The teacher's pass comes first, so that its activations are gone before the student's are kept. Where neither
        text nor logits are learnt from, the head is computed for the reported nats alone, without a gradient.
        """
        recipe = self.recipe
        teacher_states, teacher_logits = self._teach(batch)
        *states, last = supervised_states(model, batch, [student for student, _ in recipe.layers])
        with torch.set_grad_enabled(bool(recipe.text or recipe.logits)):
            logits = head_logits(model, last)
        nats_H = token_losses(logits if recipe.text else logits.detach(), batch.label_H)
        loss_H = recipe.text * nats_H
        if self.teacher is not None and teacher_logits is not None:
            divergence_H = divergence_losses(
                logits,
                teacher_logits,
                vocabulary=self.teacher.vocabulary,
                divergence=recipe.divergence,
                temperature=recipe.temperature,
            )
            loss_H = loss_H + recipe.logits * divergence_H
        if recipe.hidden:
            loss_H = loss_H + recipe.hidden * alignment_losses(states, teacher_states, self.matrix)
        return Losses(loss_H=loss_H.masked_fill(batch.label_H == IGNORED_LABEL, 0.0), nats_H=nats_H.detach())

    @torch.no_grad()
    def _teach(self, batch: Batch) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None]:
        """The teacher's outputs (H, d) for the recipe's pairs, and its logits (H, V) if the recipe learns from them.

        All its blocks are computed, also those above the highest that is aligned, and charged so.
        """
        if self.teacher is None:
            return (), None
        model = self.teacher.model
        *states, last = supervised_states(model, batch, [layer for _, layer in self.recipe.layers])
        return tuple(states), head_logits(model, last) if self.recipe.logits else None


def recipe_objective(
    recipe: Recipe, *, teacher: WhiteBoxTeacher | None, student: PreTrainedModel, seed: int
) -> Objective:
    """What a stage of that recipe minimises.

    Args:
        teacher: needed where the recipe asks for one, which `taught_price` has refused to do without.
        seed: draws the projection of hidden states, where widths differ.
    """
    if not recipe.asks_teacher:
        return text_losses if recipe.text == 1.0 else Distillation(recipe=recipe, teacher=None)
    assert teacher is not None, recipe
    if not recipe.hidden:
        return Distillation(recipe=recipe, teacher=teacher)
    matrix = projection(
        teacher_width=width(teacher.model), student_width=width(student), seed=seed, device=student.device
    )
    return Distillation(recipe=recipe, teacher=teacher, matrix=matrix)


def width(model: PreTrainedModel) -> int:
    """d, the size of a model's hidden states."""
    return int(model.config.get_text_config().hidden_size)


def taught_price(
    price: StepPrice, recipe: Recipe, *, teacher: WhiteBoxTeacher | None, student: PreTrainedModel
) -> StepPrice:
    """A student's price with its teacher's passes beside it: all blocks, the head where its logits are used, and the
    projection of its states, which is computed forward only.

    Raises:
        StageError: the recipe asks for a teacher where there is none, or for a block that the teacher does not have.
    """
    if not recipe.asks_teacher:
        return price
    if teacher is None:
        wanted = "a teacher's logits" if recipe.logits else "a teacher's hidden states"
        raise StageError(
            f"the recipe of this stage asks for {wanted}, and the run has none: name one with --white_box_teacher"
        )
    for _, block in recipe.layers:
        if block > teacher.shape.layers:
            raise StageError(
                f"layers aligns block {block} of teacher {teacher.name!r}, which has blocks 1 to {teacher.shape.layers}"
            )
    widths = width(teacher.model), width(student)
    return dataclasses.replace(
        price,
        teacher=teacher.shape,
        teacher_head=bool(recipe.logits),
        alignment=0 if widths[0] == widths[1] else len(recipe.layers) * widths[0] * widths[1],
    )
