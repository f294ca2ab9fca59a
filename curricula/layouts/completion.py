r"""What a published completion holds: a trace, a response, and the response's final answer.

    text --think tags of any spelling--> trace, response --last mark--> final answer

Marks are those that the evaluators know: `#### x`, `\boxed{x}`, "answer is x", "Answer: x", and `<answer>x</answer>`;
the last one counts. Where there is none, a response of a few words is its own answer, and prose has none.
"""

from __future__ import annotations

import math
import re

from curricula.rendering import THINK_CLOSE, THINK_OPEN, ends_in_answer
from curricula.stream.intake import UnusableError

BLOCKS: tuple[tuple[str, str], ...] = (
    (THINK_OPEN, THINK_CLOSE),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<Think>", "</Think>"),
    ("<THINK>", "</THINK>"),
    ("<Thinking>", "</Thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
"""How published sets open and close a think block."""

MAX_ANSWER_CHARS = 200
"""A marked answer that is longer is no short final answer."""
MAX_PHRASE_CHARS = 80
"""The same behind "answer is", where prose may follow."""
MAX_BARE_CHARS = 40
MAX_BARE_WORDS = 5
"""A response without a mark is its own answer up to this size."""

_OPENINGS = tuple(opening for opening, _ in BLOCKS)
# One pattern with one first character: traces hold many "<" that open no tag, and plain searches stop at each.
_TAG = re.compile("|".join(re.escape(tag) for block in BLOCKS for tag in block if tag[0] == "<"))
_END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end|>",
    "<|return|>",
    "</s>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
_SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")
_ANSWER_OPEN, _ANSWER_CLOSE = "<answer>", "</answer>"
_SAYS = re.compile(r"nswer\**\s*(?:is\b\s*:?|[:=])\**\s*(?=\S)")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ('"', '"'), ("**", "**"), ("`", "`"))
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_PAIR_GAP = re.compile(r"[\s$,;&.]*(?:and|or|\\text\s*\{\s*(?:and|or)\s*\})?[\s$,;&]*")
_PAIR_CHARS = 40
_MAX_PHRASES = 8
_MAX_LINE_CHARS = 1000
_REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "sorry, ",
    "i can't",
    "i cannot",
    "i can not",
    "i'm unable",
    "i am unable",
    "i won't",
    "as an ai",
    "unfortunately, i can",
)


def split_completion(text: str) -> tuple[str | None, str]:
    """(trace, response) of a completion, both without tags and outer space; the trace is None where it does not think.

    An empty block is a teacher with its thinking turned off. A closing tag without an opening one ends a trace: the
    prompt had opened the block.

    Example:
        >>> split_completion("<|begin_of_thought|>3+4=7<|end_of_thought|> <|begin_of_solution|>7<|end_of_solution|>")
        ('3+4=7', '7')

    Raises:
        UnusableError: nothing is there; the block is never closed; nothing follows it; or another one does.
    """
    text = text.strip()
    if not text:
        raise UnusableError("empty completion")
    trace, response = _split(text) if _has_tag(text) else (None, text)
    response = visible(response)
    if THINK_OPEN in response or THINK_CLOSE in response:
        raise UnusableError("several think blocks")
    if not response:
        raise UnusableError("nothing after the think block" if trace is not None else "empty completion")
    return trace or None, response


def bare_trace(text: str) -> str:
    """A trace from a column of its own, without the tags it may be wrapped in; "" where there is none.

    Raises:
        UnusableError: a block is opened and not closed, or the trace holds our closing tag.
    """
    text = text.strip()
    if _has_tag(text):
        trace, response = _split(text)
        text = trace if trace is not None and not response.strip() else text
    if THINK_CLOSE in text:
        raise UnusableError("trace holds a think tag")
    return text


def visible(text: str) -> str:
    """What a student is to write of a response: no end tokens, no tags around the solution, no outer space."""
    if "<" in text:
        text = text.strip()
        while text.endswith(_END_TOKENS):
            text = text[: text.rindex("<")].rstrip()
        for tag in _SOLUTION:
            text = text.replace(tag, "")
        text = text.strip()
        if text.startswith(_ANSWER_OPEN) and text.endswith(_ANSWER_CLOSE):
            text = text[len(_ANSWER_OPEN) : -len(_ANSWER_CLOSE)]
    return text.strip()


def final_answer(text: str) -> str | None:
    r"""The final answer that a response marks, or is; None where it is prose.

    Example:
        >>> [final_answer(text) for text in (r"so $\boxed{\frac{1}{2}}$.", "The answer is 1,234.", "Paris", "#### 7")]
        ['\\frac{1}{2}', '1,234', 'Paris', '7']

    Raises:
        UnusableError: two boxes that differ stand side by side at the end; neither is the answer alone.
    """
    boxed, tag = text.rfind("\\boxed"), text.rfind(_ANSWER_OPEN)
    # Before the last line, four hashes open a heading.
    hashes = text.rfind("####", text.rfind("\n") + 1)
    phrase = _phrase_end(text)
    last = max(boxed, tag, hashes, phrase)
    if last < 0:
        short = len(text) <= MAX_BARE_CHARS and "\n" not in text and text.count(" ") < MAX_BARE_WORDS
        return bare(text) or None if short and not is_refusal(text) else None
    if last == boxed:
        return _short(_box(text, boxed), MAX_ANSWER_CHARS)
    if last == hashes:
        return _short(_line(text, last + 4), MAX_ANSWER_CHARS)
    if last == tag:
        return _short(text[last + len(_ANSWER_OPEN) :].partition(_ANSWER_CLOSE)[0], MAX_ANSWER_CHARS)
    return _short(_SENTENCE_END.split(_line(text, last), maxsplit=1)[0], MAX_PHRASE_CHARS)


def reference_answer(value: object) -> str | None:
    """The final answer that a column of references holds: a number, a short text, or a solution that marks it."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return (f"{value:.15g}" if math.isfinite(value) else None) if isinstance(value, float) else str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    marked = "\n" in text or "\\boxed" in text or "####" in text or _phrase_end(text) >= 0
    return final_answer(text) if marked else _short(text, MAX_ANSWER_CHARS)


def gives_answer(response: str, answer: str) -> bool:
    """Whether a response comes to this answer in the same words: at its end, or at its last mark."""
    if ends_in_answer(response, answer):
        return True
    own = final_answer(response)
    return own is not None and ends_in_answer(own, answer)


def is_refusal(text: str) -> bool:
    """Whether a response opens as a refusal does."""
    return text[:20].lower().replace("\u2019", "'").startswith(_REFUSALS)


def bare(text: str) -> str:
    """An answer without the typography around it: blanks, emphasis, quotes, mathematics signs, a final period."""
    text = text.strip()
    if text.isalnum():
        return text
    before = ""
    while text != before:
        before = text
        for opening, closing in _WRAPPERS:
            if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
                inside = text[len(opening) : -len(closing)].strip()
                text = inside if inside and opening not in inside else text
        if text.endswith(".") and not text.endswith("..") and len(text) > 1:
            text = text[:-1].rstrip()
        wrapped = _TEXT_COMMAND.fullmatch(text) if text.startswith("\\") else None
        if wrapped is not None and wrapped[1].strip():
            text = wrapped[1].strip()
    return text


def _has_tag(text: str) -> bool:
    return _TAG.search(text) is not None or "THINK]" in text or "\u25c1" in text


def _split(text: str) -> tuple[str | None, str]:
    """(trace, rest) by the first block that is opened or closed; the trace is None where there is no block."""
    start = 0
    if text.startswith(THINK_OPEN):
        opening, closing = BLOCKS[0]
    elif text.startswith(_OPENINGS):
        opening, closing = next(block for block in BLOCKS if text.startswith(block[0]))
    else:
        found = [(text.find(opening), opening, closing) for opening, closing in BLOCKS if opening in text]
        orphans = [(text.find(closing), closing) for _, closing in BLOCKS if closing in text]
        if orphans and (not found or min(orphans)[0] < min(found)[0]):
            end, closing = min(orphans)
            return text[:end].strip(), text[end + len(closing) :]
        if not found:
            return None, text
        start, opening, closing = min(found)
    end = text.find(closing, start + len(opening))
    if end < 0:
        raise UnusableError("think block never closed")
    trace = text[start + len(opening) : end].strip()
    while trace.startswith(opening):
        trace = trace[len(opening) :].lstrip()
    return trace, f"{text[:start].strip()}\n{text[end + len(closing) :].strip()}"


def _phrase_end(text: str) -> int:
    """Where the answer of the last "answer is" begins; -1 where nothing says so."""
    start = text.rfind("nswer")
    for _ in range(_MAX_PHRASES):
        if start < 0:
            return -1
        match = _SAYS.match(text, start)
        if match is not None:
            return match.end()
        start = text.rfind("nswer", 0, start)
    return -1


def _line(text: str, start: int) -> str:
    """The rest of a line; of a very long one its beginning, which is too long for an answer already."""
    end = text.find("\n", start, start + _MAX_LINE_CHARS)
    return text[start : start + _MAX_LINE_CHARS] if end < 0 else text[start:end]


def _box(text: str, start: int) -> str:
    """The content of the box at `start`.

    Raises:
        UnusableError: another box with something else stands directly before it.
    """
    content = _braced(text, start + len("\\boxed"))
    before = text.rfind("\\boxed", 0, start)
    if before >= 0:
        other = _braced(text, before + len("\\boxed"))
        end = text.find(other, before) + len(other) + 1
        near = start - end <= _PAIR_CHARS
        if near and bare(other) != bare(content) and _PAIR_GAP.fullmatch(text, end, start) is not None:
            raise UnusableError("several final answers")
    return content


def _braced(text: str, start: int) -> str:
    """What stands in the braces that open at `start`, blanks aside; "" where none does or they are never closed."""
    opened = start
    while text[opened : opened + 1].isspace():
        opened += 1
    if text[opened : opened + 1] != "{":
        return ""
    end = text.find("}", opened)
    if end >= 0 and text.find("{", opened + 1, end) < 0:
        return text[opened + 1 : end]
    depth = 0
    for position in range(opened, min(len(text), opened + 4 * MAX_ANSWER_CHARS)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[opened + 1 : position]
    return ""


def _short(text: str, most_chars: int) -> str | None:
    answer = bare(text)
    return answer if 0 < len(answer) <= most_chars else None
