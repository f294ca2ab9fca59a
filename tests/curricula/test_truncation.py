"""The length-matched control keeps a beginning of the trace, never too much of it, and always the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curricula.rendering import ends_in_answer, split_thinking, think
from curricula.traces.truncation import truncate_to

TRACES = st.text(alphabet="abc 12=\n", max_size=80)


def words_that_fit(trace: str, keep_chars: int) -> str:
    """The longest beginning of whole words in at most `keep_chars` characters, found by trying every length."""
    for end in range(keep_chars, -1, -1):
        whole = end == len(trace) or trace[end].isspace() or (end > 0 and trace[end - 1].isspace())
        if whole and trace[:end].strip():
            return trace[:end]
    return trace[:keep_chars]


@given(trace=TRACES, keep_chars=st.integers(min_value=0, max_value=100))
def test_keeps_as_many_whole_words_as_fit(trace: str, keep_chars: int) -> None:
    kept, rest = split_thinking(truncate_to(think(trace, "17"), keep_chars, "17"))
    assert kept is not None
    assert rest == "17"
    if keep_chars >= len(trace):
        assert kept == trace
    else:
        assert kept == words_that_fit(trace, keep_chars).rstrip()


@given(trace=TRACES, keep_chars=st.integers(min_value=0, max_value=100))
def test_is_a_beginning_and_short_enough(trace: str, keep_chars: int) -> None:
    text = truncate_to(think(trace, "something else"), keep_chars, "17")
    kept, _ = split_thinking(text)
    assert kept is not None
    assert len(kept) <= keep_chars
    assert trace.startswith(kept)
    assert ends_in_answer(text, "17")


def test_cuts_inside_a_word_where_there_is_no_boundary() -> None:
    assert truncate_to("<think>3+4=7,7*2=14</think>14", 5, "14") == "<think>3+4=7</think>14"


@pytest.mark.parametrize("text", ["14", "<think>3+4=7, then", ""])
def test_a_text_without_a_closed_block_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="closed think block"):
        truncate_to(text, 5, "14")


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        truncate_to("<think>3+4=7</think>7", -1, "7")
