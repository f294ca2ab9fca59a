"""A white-box teacher: a frozen model whose logits and hidden states a student can learn from, token by token.

Both must read the same tokens, so the tokenizers are compared and a teacher with another one is refused. Architecture,
depth and width may differ, and so may the rows by which an embedding was padded beyond the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainers.collate import check_logits
from trainers.positions import stated_positions
from trainers.pricing.flops import ModelShape
from trainers.pricing.shape import model_shape
from trainers.student import Student, load_student
from trainers.tokens import TokenStore

_PROBE_TEXTS = (
    "The bigger of 1,234.50 and -17?\nAnswer:  3 + 4 = 7;\tso x_1 != 'b' ...",
    "<think>7 * 8 = 56, 56 - 6 = 50</think>50",
    "def f(n):\n    return n ** 2  # caf\u00e9 \u4e2d\u6587 \u2264 \U0001f600",
)
"""What tokenizers of one vocabulary may still cut differently: digits, spaces, tags, code, other scripts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WhiteBoxTeacher:
    """A model to learn from that reads the student's tokens.

    Example:
        load_white_box_teacher("tiny-3m", student=student, seed=0, cache_dir=Path("cache"), device=torch.device("cpu"))
    """

    name: str  # as it was asked for
    model: PreTrainedModel  # fp32 weights without gradients, in eval mode; training's precision is its caller's
    shape: ModelShape
    vocabulary: int  # V: ids 0 to V - 1 stand for the same tokens in student and teacher; what is above is padding


def load_white_box_teacher(
    name: str, *, student: Student, seed: int, cache_dir: Path, device: torch.device
) -> WhiteBoxTeacher:
    """Load a teacher for a student, frozen, on a device.

    Args:
        name: as students are named: a tiny one, a folder (such as the `student/` of another run), a hub id, a .gguf.
        seed: of a tiny teacher's weights; the others ignore it.
        cache_dir: where converted GGUF files are kept.

    Raises:
        ValueError: there is no such model, its tokenizer is not the student's, or it cannot be priced.
    """
    try:
        teacher = load_student(name, seed=seed, cache_dir=cache_dir)
        shape = model_shape(teacher.model)
    except ValueError as error:
        raise ValueError(f"white_box_teacher: {error}") from None
    difference = tokenizer_difference(teacher.tokenizer, student.tokenizer)
    if difference is not None:
        raise ValueError(
            f"white_box_teacher {name!r} does not read the tokens of student {student.name!r}: {difference}; "
            "name a teacher with the student's own tokenizer"
        )
    model = teacher.model.eval().requires_grad_(False)
    model.to(device)  # pyright: ignore[reportArgumentType] the stub takes the device for self
    return WhiteBoxTeacher(name=name, model=model, shape=shape, vocabulary=len(student.tokenizer))


def check_teacher(teacher: WhiteBoxTeacher, store: TokenStore, *, pad_id: int) -> None:
    """Compare the logits of a teacher, as training takes them, with its own, and its longest row with the store's.

    Raises:
        ValueError: it changes its logits behind its head, or a row is longer than it was made for.
    """
    try:
        check_logits(teacher.model, store, name=teacher.name, pad_id=pad_id)
    except ValueError as error:
        raise ValueError(f"white_box_teacher: {error}") from None
    positions = stated_positions(teacher.model.config)
    longest = int((store.prompt_tokens_N[:, None] + store.target_tokens_NS)[store.target_tokens_NS >= 0].max())
    if positions is not None and longest > positions:
        raise ValueError(
            f"white_box_teacher {teacher.name!r} reads at most {positions} tokens, and the corpus has rows of "
            f"{longest}: set --max_tokens {positions}"
        )


def tokenizer_difference(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> str | None:
    """What differs between two tokenizers, as the end of a sentence; None where they read and end texts alike.

    Compared are the id of every token, the end token, and the ids of a few texts, the last of which spells all added
    tokens (those of a chat template are among them). Templates may differ, since the student's renders every row.
    """
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    different = sorted(token for token in {*theirs, *ours} if theirs.get(token) != ours.get(token))
    if different:
        first = different[0]
        return (
            f"{len(different)} of the tokens differ ({len(theirs)} in the teacher's vocabulary, {len(ours)} in the "
            f"student's), {first!r} among them: id {theirs.get(first)} and {ours.get(first)}"
        )
    if teacher.eos_token_id != student.eos_token_id:
        return f"a text ends with {teacher.eos_token!r} for the teacher and with {student.eos_token!r} for the student"
    added = " a ".join(str(token) for token in student.added_tokens_decoder.values())
    for text in (*_PROBE_TEXTS, added):
        their_ids = teacher.encode(text, add_special_tokens=False)
        our_ids = student.encode(text, add_special_tokens=False)
        if their_ids != our_ids:
            return (
                f"{text[:40]!r} becomes {len(their_ids)} tokens for the teacher and {len(our_ids)} for the student"
                if len(their_ids) != len(our_ids)
                else f"{text[:40]!r} becomes tokens {their_ids[:20]} for the teacher and {our_ids[:20]} for the student"
            )
    return None
