"""A teacher whose tokens are not the student's is refused with what differs; one that is accepted is frozen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Digits, Whitespace
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainers.objectives.teacher import load_white_box_teacher, tokenizer_difference
from trainers.student import load_student

CPU = torch.device("cpu")
WORDS = ("[UNK]", "[END]", "[TURN]", "a", "b", "7")


def _words(words: Sequence[str] = WORDS, *, end: str = "[END]", one_digit: bool = False) -> PreTrainedTokenizerFast:
    backend = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    parts = [Whitespace(), Digits(individual_digits=True)] if one_digit else [Whitespace()]
    backend.pre_tokenizer = PreTokenizers(parts)
    backend.add_special_tokens(["[TURN]", "[END]"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", eos_token=end)


@pytest.mark.parametrize(
    ("teacher", "difference"),
    [
        (_words(), None),
        (_words((*WORDS, "c")), "1 of the tokens differ .* 'c' among them: id 6 and None"),
        (_words((*WORDS[:3], "b", "a", "7")), "2 of the tokens differ .* 'a' among them: id 4 and 3"),
        (_words(end="[TURN]"), "a text ends with .*TURN.* for the teacher and with .*END.* for the student"),
        (_words(one_digit=True), "tokens for the teacher"),
    ],
)
def test_what_differs_between_two_tokenizers_is_told(teacher: PreTrainedTokenizerFast, difference: str | None) -> None:
    found = tokenizer_difference(teacher, _words())
    if difference is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(difference, found)


def test_a_teacher_is_frozen_and_may_be_of_another_width_and_a_padded_embedding(tmp_path: Path) -> None:
    student = load_student("tiny", seed=0, cache_dir=tmp_path)
    wide = load_student("tiny-3m", seed=7, cache_dir=tmp_path)
    wide.model.resize_token_embeddings(256, mean_resizing=False)
    wide.model.save_pretrained(tmp_path / "teacher")
    wide.tokenizer.save_pretrained(tmp_path / "teacher")
    name = str(tmp_path / "teacher")
    teacher = load_white_box_teacher(name, student=student, seed=0, cache_dir=tmp_path, device=CPU)
    assert teacher.vocabulary == len(student.tokenizer) == 247
    assert teacher.shape.head_weights == 256 * 256
    assert not teacher.model.training
    assert not any(weight.requires_grad for weight in teacher.model.parameters())


def test_a_teacher_that_reads_other_tokens_or_is_not_there_is_refused(tmp_path: Path) -> None:
    student = load_student("tiny", seed=0, cache_dir=tmp_path)
    LlamaForCausalLM(
        LlamaConfig(vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path / "other")
    _words().save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"does not read the tokens of student 'tiny': .* differ .*6 in the teacher's"):
        load_white_box_teacher(str(tmp_path / "other"), student=student, seed=0, cache_dir=tmp_path, device=CPU)
    with pytest.raises(ValueError, match="white_box_teacher: there is no student 'tiny-3'"):
        load_white_box_teacher("tiny-3", student=student, seed=0, cache_dir=tmp_path, device=CPU)
