"""What the layouts of teachers' replies share: a prompt, what the teacher wrote, and perhaps flags and a reference."""

from __future__ import annotations

from collections.abc import Mapping

from curricula.layouts.completion import final_answer, gives_answer, is_refusal, split_completion
from curricula.layouts.layout import Draft, Layout
from curricula.reader import ANSWER_WITHIN_CHARS
from curricula.rendering import holds_answer
from curricula.stream.intake import UnusableError
from curricula.types import Verdict

ANSWER_COLUMNS = ("answer", "final_answer", "expected_answer", "ground_truth")
"""Where sets without a layout of their own keep the final answer."""
TRACE_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Where a message or row keeps its trace, if not in its content."""
CORRECT_COLUMNS = ("correct", "is_correct", "verified")
UNFINISHED = ("length", "max_tokens")
"""Finish reasons of a completion that a token limit cut off."""


def declared_right(row: Mapping[str, object]) -> bool:
    """Whether a row's own flag says that its completion is right.

    Raises:
        UnusableError: a flag says that it is wrong, or that it was cut off.
    """
    if row.get("finish_reason") in UNFINISHED:
        raise UnusableError("flagged unfinished")
    right = False
    for name in CORRECT_COLUMNS:
        flag = row.get(name)
        if flag is False:
            raise UnusableError("flagged incorrect")
        right = right or flag is True
    return right


def draft_of_reply(
    layout: Layout,
    *,
    prompt: str,
    trace: str,
    completion: str,
    reference: str | None,
    right: bool,
) -> Draft:
    """What one reply of a teacher offers: `reasoning` and `response` where it thinks, `short` where it does not.

    `trace` is "" where it stands in the completion, if anywhere. The final answer is the reference, else what the
    response itself gives. A trace is put before the answer only where its response comes to that answer, in words or
    by a flag: the reference behind a wrong trace would pass for a right one ever after.

    Raises:
        UnusableError: there is no final answer, or the completion is empty, refused, cut off or malformed.
    """
    inline, response = split_completion(completion)
    trace = trace or inline or ""
    answer = reference or final_answer(response)
    if answer is None:
        raise UnusableError("refused" if is_refusal(response) else "no final answer")
    verdict: Verdict = "declared" if right else "unchecked"
    draft = Draft(prompt=prompt, answer=answer)
    draft.give("declared" if reference is not None else verdict)
    offer_reply(layout, draft, trace=trace, response=response, verdict=verdict, agrees=right or reference is None)
    return draft


def offer_reply(
    layout: Layout, draft: Draft, *, trace: str, response: str, verdict: Verdict, agrees: bool = False
) -> None:
    """Add a reply's targets to a draft; `agrees` where the response is known to come to the draft's answer."""
    if not trace:
        draft.say(layout.spelled("short"), response, verdict)
        return
    if agrees or gives_answer(response, draft.answer):
        draft.think(layout.spelled("reasoning"), trace, verdict)
    else:
        draft.fault(layout.spelled("reasoning"), "comes to another answer", response[-80:])
    draft.say(layout.spelled("response"), response, verdict)


def offer_bare_trace(draft: Draft, supervision: str, trace: str, verdict: Verdict) -> None:
    """Add a trace that no response follows; it was cut off unless its last part names the answer."""
    if trace and not holds_answer(trace[-ANSWER_WITHIN_CHARS:], draft.answer):
        draft.fault(supervision, "trace ends before its answer", trace[-80:])
    else:
        draft.think(supervision, trace, verdict)
