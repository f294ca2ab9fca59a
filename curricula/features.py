"""Static text statistics of prompts: what a policy may know of an example's wording, and no more.

Axes: N examples, D features, C characters of all prompts joined, W words of all prompts joined.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curricula.types import Floats

STATISTICS: tuple[str, ...] = (
    "log characters",
    "log words",
    "log digits",
    "log numbers",
    "digits of the longest number",
    "log operators",
    "log line breaks",
    "log question marks and colons",
    "log capitals",
    "log non-ASCII characters",
    "log distinct characters",
    "mean word length",
    "is multiple choice",
    "number of choices",
    "log characters of the choices",
)
BUCKETS = 16
"""Of the D axis: how often words fall into each of so many stable hash buckets, whose sign is hashed too."""

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_CLASSES = ("0123456789", "+-*/=^%<>", "\n", "?:", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def text_features(
    prompts: Sequence[str], kinds: Sequence[str], choices: Sequence[Sequence[str]]
) -> NDArray[np.float16]:
    """Features of N prompts, shape (N, D): the `STATISTICS`, then `BUCKETS` hashed words, numbers all one word.

    A row depends on its own prompt, kind and choices alone, and on no process: words are hashed with CRC-32. The
    buckets are feature hashing with signs, so that tasks can be told apart where their names are withheld.

    Raises:
        ValueError: the three sequences differ in length.
    """
    if not len(prompts) == len(kinds) == len(choices):
        raise ValueError(
            f"prompts, kinds and choices must be equally long, got {len(prompts)}, {len(kinds)} and {len(choices)}"
        )
    chars_N = np.fromiter(map(len, prompts), dtype=np.int64, count=len(prompts))
    words_N, buckets_NB = _hashed_words(prompts)
    char_columns = _character_statistics(prompts, chars_N)
    distinct_N = np.fromiter((len(set(prompt)) for prompt in prompts), dtype=np.int64, count=len(prompts))
    choices_N = np.fromiter(map(len, choices), dtype=np.int64, count=len(prompts))
    choice_chars_N = np.fromiter((sum(map(len, texts)) for texts in choices), dtype=np.int64, count=len(prompts))
    is_choice_N = np.fromiter((kind == "choice" for kind in kinds), dtype=np.float64, count=len(prompts))
    digits_N, numbers_N, longest_N, operators_N, breaks_N, marks_N, capitals_N, foreign_N = char_columns
    columns = [
        np.log1p(chars_N),
        np.log1p(words_N),
        np.log1p(digits_N),
        np.log1p(numbers_N),
        np.minimum(longest_N, 100),
        np.log1p(operators_N),
        np.log1p(breaks_N),
        np.log1p(marks_N),
        np.log1p(capitals_N),
        np.log1p(foreign_N),
        np.log1p(distinct_N),
        np.minimum(chars_N / np.maximum(words_N, 1), 100.0),
        is_choice_N,
        np.minimum(choices_N, 100),
        np.log1p(choice_chars_N),
    ]
    return np.column_stack([*columns, buckets_NB]).astype(np.float16)


class _Codes(dict[str, int]):
    """CRC-32 of each word, computed once; all numbers are one word."""

    def __missing__(self, word: str) -> int:
        self[word] = zlib.crc32(b"0" if word.isdigit() else word.encode("utf-8", "surrogatepass"))
        return self[word]


def _hashed_words(prompts: Sequence[str]) -> tuple[NDArray[np.int64], Floats]:
    code_of = _Codes()
    codes: list[int] = []
    words_N = np.zeros(len(prompts), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        words = _WORD.findall(prompt.lower())
        words_N[row] = len(words)
        codes.extend(map(code_of.__getitem__, words))
    code_W = np.array(codes, dtype=np.int64)
    row_W = np.repeat(np.arange(len(prompts)), words_N)
    sign_W = np.where((code_W >> 16) & 1, 1.0, -1.0)
    sums = np.bincount(row_W * BUCKETS + code_W % BUCKETS, weights=sign_W, minlength=len(prompts) * BUCKETS)
    sums_NB = sums.reshape(len(prompts), BUCKETS)
    return words_N, np.sign(sums_NB) * np.log1p(np.abs(sums_NB))


def _class_of_character() -> NDArray[np.int64]:
    classes = np.zeros(129, dtype=np.int64)
    for place, members in enumerate(_CLASSES, start=1):
        classes[[ord(character) for character in members]] = place
    classes[128] = len(_CLASSES) + 1
    return classes


def _character_statistics(prompts: Sequence[str], chars_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    # One array of code points for all prompts, each looked up once: a class of characters is then one count.
    code_C = np.frombuffer("".join(prompts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    class_C = _class_of_character()[np.minimum(code_C, 128)]
    row_C = np.repeat(np.arange(len(prompts)), chars_N)
    kinds = len(_CLASSES) + 2
    count_NK = np.bincount(row_C * kinds + class_C, minlength=len(prompts) * kinds).reshape(-1, kinds)
    digit_C = class_C == 1
    same_row_C = np.concatenate([[False], row_C[1:] == row_C[:-1]])[: len(row_C)]
    run_C = digit_C & ~(np.concatenate([[False], digit_C[:-1]])[: len(row_C)] & same_row_C)
    run_row = row_C[run_C]
    run_length = np.bincount(np.cumsum(run_C)[digit_C] - 1, minlength=len(run_row))
    longest_N = np.zeros(len(prompts), dtype=np.int64)
    np.maximum.at(longest_N, run_row, run_length)
    numbers_N = np.bincount(run_row, minlength=len(prompts))
    digits_N, operators_N, breaks_N, marks_N, capitals_N, foreign_N = count_NK[:, 1:].T
    return digits_N, numbers_N, longest_N, operators_N, breaks_N, marks_N, capitals_N, foreign_N
