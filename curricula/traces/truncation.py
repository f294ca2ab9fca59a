"""The length-matched control: as many characters of a trace as a compressed one has, and nothing clever about which."""

from __future__ import annotations

from curricula.rendering import split_thinking, think


def truncate_to(text: str, keep_chars: int, answer: str) -> str:
    """Cut a target's trace to at most `keep_chars` characters, close the think block and append the answer.

    The cut falls behind a word, where the kept part holds a whole one, and inside the first word otherwise. A trace
    that is short enough stays as it is.

    Example:
        >>> truncate_to("<think>3+4=7, then 7*2=14</think>14", 13, "14")
        '<think>3+4=7, then</think>14'

    Raises:
        ValueError: `keep_chars` is negative, or the text has no think block that is closed.
    """
    if keep_chars < 0:
        raise ValueError(f"keep_chars must be at least 0, got {keep_chars}")
    trace, rest = split_thinking(text)
    if trace is None or rest is None:
        raise ValueError(f"a text to truncate must hold a closed think block, got {text[:80]!r}")
    if keep_chars >= len(trace):
        return think(trace, answer)
    kept, following = trace[:keep_chars], trace[keep_chars]
    if not following.isspace() and not kept[-1:].isspace():
        words = kept.rsplit(maxsplit=1)
        kept = words[0] if len(words) == 2 else kept
    return think(kept.rstrip(), answer)
