"""A description as tables and notes for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from curricula.description.description import Description, Lengths, Offered, Ratios
from curricula.description.near_copies import NEAR_SIMILARITY
from curricula.description.overlap import MOSTLY, Pair
from curricula.types import SPLITS, Cost
from evaluators.accuracy import wilson
from experiments.summary import accuracy_text, flops_text, share_text

SHOWN_TASKS = 15
_SHOWN_REASONS = 6
_NONE = "-"
_LEAST_WIDTH = 64  # so that a narrow table's title and caption are not folded


def tables(description: Description) -> list[Table]:
    """Everything in figures; a table with nothing to say is left out."""
    made = [_counts(description), _lengths(description), _ratios(description), _verdicts(description)]
    if description.teach != Cost() or description.compress != Cost():
        made.append(_costs(description))
    return [*made, _overlap(description)]


def warnings(description: Description) -> list[str]:
    """What a person should know before training on it, each in one line that counts it."""
    return [
        *_too_long(description),
        *_leaks(description),
        *_twice(description),
        *_unsure(description),
        *_dropped(description),
    ]


def dollars_text(dollars: float) -> str:
    """Dollars for people.

    Example:
        >>> dollars_text(12.5), dollars_text(0.00042)
        ('$12.50', '$0.00042')
    """
    return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.2g}"


def _counts(description: Description) -> Table:
    splits = [split for split in SPLITS if description.splits[split]]
    table = _table(f"{description.name}: {description.examples:,} examples, {description.targets:,} targets")
    _add_columns(table, "task", *splits, "all")
    tasks = sorted(description.tasks.items(), key=lambda task: (-sum(task[1].values()), task[0]))
    rest = tasks[SHOWN_TASKS:]
    rows = [*tasks[:SHOWN_TASKS]]
    if rest:
        rows.append((f"{len(rest)} more", {split: sum(counts.get(split, 0) for _, counts in rest) for split in splits}))
    for name, counts in rows:
        table.add_row(Text(name), *(f"{counts.get(split, 0):,}" for split in splits), f"{sum(counts.values()):,}")
    table.add_section()
    table.add_row("all", *(f"{description.splits[split]:,}" for split in splits), f"{description.examples:,}")
    parts = [f"{name.replace('_', ' ')} {count:,}" for name, count in description.domains.items()]
    parts += [f"{name} {count:,}" for name, count in description.kinds.items()]
    table.caption = ", ".join(parts)
    return table


def _lengths(description: Description) -> Table:
    unit = "characters" if description.tokenizer is None else f"tokens of {description.tokenizer}"
    table = _table(f"Lengths, in {unit}")
    _add_columns(table, "supervision", "targets", "10%", "50%", "90%", "99%", "longest", "too long")
    prompt = description.prompt_tokens or description.prompt_chars
    table.add_row("(prompt)", f"{description.examples:,}", *_quantiles(prompt), _NONE)
    for part in description.offered:
        too_long = f"{part.too_long:,}" if part.too_long else _NONE
        table.add_row(part.supervision, f"{part.targets:,}", *_quantiles(part.tokens or part.chars), too_long)
    if description.max_tokens is not None:
        table.caption = f"too long: more than {description.max_tokens:,} tokens with its prompt"
    return table


def _quantiles(lengths: Lengths) -> list[str]:
    return [f"{value:,}" for value in (lengths.p10, lengths.p50, lengths.p90, lengths.p99, lengths.most)]


def _ratios(description: Description) -> Table:
    references = sorted({part.reference for part in description.offered if part.reference is not None})
    of = references[0] if len(references) == 1 else "the full trace of the same teacher"
    table = _table(f"Length over that of {of}, example by example: median (10% to 90%)")
    _add_columns(table, "supervision", "pairs", "of targets", "of traces, stored")
    for part in description.offered:
        paired = part.token_ratios or part.char_ratios
        table.add_row(
            part.supervision,
            _NONE if paired is None else f"{paired.n:,}",
            "the reference" if part.reference is None else _spread(paired),
            _spread(part.stored_token_ratios or part.stored_char_ratios),
        )
    unit = "characters" if description.tokenizer is None else "tokens"
    table.caption = f"of targets: in {unit}, answer included; stored: as its compressor measured the trace alone"
    return table


def _spread(ratios: Ratios | None) -> str:
    if ratios is None:
        return _NONE
    return f"{share_text(ratios.p50)} ({share_text(ratios.p10)} to {share_text(ratios.p90)})"


def _verdicts(description: Description) -> Table:
    table = _table("Verdicts on the final answers")
    _add_columns(table, "supervision", "checked", "found right", "wrong", "declared", "unchecked")
    for part in description.offered:
        wrong = part.checked - part.found_right
        counts = (part.checked, wrong, part.verdicts.get("declared", 0), part.verdicts.get("unchecked", 0))
        cells = [f"{count:,}" if count else _NONE for count in counts]
        table.add_row(part.supervision, cells[0], right_text(part), *cells[1:])
    table.caption = "found right: of those checked, with a 95% interval (Wilson); declared: right by its source's word"
    return table


def right_text(part: Offered) -> str:
    """The share of right answers among those checked, with its interval, or a dash where none was."""
    if not part.checked:
        return _NONE
    return accuracy_text(part.found_right / part.checked, wilson(part.found_right, part.checked))


def _costs(description: Description) -> Table:
    table = _table("Cost of the targets, rejected samples included")
    _add_columns(table, "supervision", "for", "FLOPs", "tokens", "dollars")
    for part in description.offered:
        for purpose, cost in (("teach", part.teach), ("compress", part.compress)):
            if cost != Cost():
                table.add_row(part.supervision, purpose, *_cost_cells(cost, part.targets))
    table.add_section()
    for purpose, cost in (("teach", description.teach), ("compress", description.compress)):
        if cost != Cost():
            table.add_row("all", purpose, *_cost_cells(cost, None))
    table.caption = (
        "each supervision as if it stood alone; in all of them a completion counts once, however many targets are made "
        "from it, and each shortened target what it would take by itself"
    )
    return table


def _cost_cells(cost: Cost, targets: int | None) -> list[str]:
    """FLOPs, tokens and dollars: all, and, where there are targets, the share of one below."""
    texts = [(cost.flops, flops_text(cost.flops)), (cost.tokens, f"{cost.tokens:,}")]
    cells = [text if amount else _NONE for amount, text in [*texts, (cost.dollars, dollars_text(cost.dollars))]]
    if targets is None:
        return cells
    each = (flops_text(cost.flops / targets), f"{cost.tokens / targets:,.0f}", dollars_text(cost.dollars / targets))
    return [cell if cell == _NONE else f"{cell}\n{one} each" for cell, one in zip(cells, each, strict=True)]


def _overlap(description: Description) -> Table:
    overlap = description.overlap
    table = _table("Prompts that stand in train too")
    _add_columns(table, "split", "prompts", "equal", f"at least {MOSTLY:.0%}", f"{overlap.run_words} words in a row")
    repeated = f"{overlap.repeated:,} ({share_text(overlap.repeated / max(1, overlap.train_prompts))})"
    table.add_row("train", f"{overlap.train_prompts:,}", repeated, _NONE, _NONE)
    for leak in overlap.leakage:
        amounts = (leak.equal, leak.mostly, leak.overlapping)
        cells = [f"{amount:,} ({share_text(amount / leak.prompts)})" for amount in amounts]
        table.add_row(leak.split, f"{leak.prompts:,}", *cells)
    table.caption = (
        f"without case and punctuation; at least {MOSTLY:.0%}: of its runs of {overlap.run_words} words; near-copies "
        f"within train, similarity estimated at {NEAR_SIMILARITY:g} or more: {overlap.near_copies:,}"
    )
    return table


def _table(title: str) -> Table:
    # A Text: what a corpus or a task is called is not to be read as markup.
    return Table(
        title=Text(f"\n{title}", style="bold"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        min_width=_LEAST_WIDTH,
    )


def _add_columns(table: Table, first: str, *others: str) -> None:
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right")


def _too_long(description: Description) -> list[str]:
    return [
        f"{part.supervision}: {part.too_long:,} of {part.targets:,} targets "
        f"({share_text(part.too_long / part.targets)}) are longer, with their prompts, than the "
        f"{description.max_tokens:,} tokens of a training row, and would be left out (--max_tokens sets that length)"
        for part in description.offered
        if part.too_long
    ]


def _leaks(description: Description) -> list[str]:
    overlap = description.overlap
    lines = []
    for leak in overlap.leakage:
        if leak.overlapping:
            lines.append(
                f"{leak.split}: {leak.overlapping:,} of {leak.prompts:,} prompts share {overlap.run_words} words in a "
                f"row, or all of a shorter prompt, with train; {leak.mostly:,} at least half of what they say, "
                f"{leak.equal:,} all of it{_examples(leak.pairs)}"
            )
    return lines


def _twice(description: Description) -> list[str]:
    overlap = description.overlap
    lines = []
    if overlap.repeated:
        lines.append(
            f"train: {overlap.repeated:,} of {overlap.train_prompts:,} prompts repeat an earlier one"
            f"{_examples(overlap.repeated_pairs)}"
        )
    if overlap.near_copies:
        lines.append(
            f"train: about {overlap.near_copies:,} of {overlap.train_prompts:,} prompts are near-copies of an earlier "
            f"one{_examples(overlap.near_pairs)}"
        )
    return lines


def _examples(pairs: Sequence[Pair]) -> str:
    return f" (such as {pairs[0].example} and {pairs[0].earlier})" if pairs else ""


def _unsure(description: Description) -> list[str]:
    verdicts = description.verdicts()
    lines = []
    if unsure := verdicts["declared"] + verdicts["unchecked"]:
        known = [f"{verdicts['declared']:,} are right by the word of their source"] if verdicts["declared"] else []
        unknown = [f"of {verdicts['unchecked']:,} nothing is known"] if verdicts["unchecked"] else []
        lines.append(
            f"{unsure:,} of {description.targets:,} targets ({share_text(unsure / description.targets)}) were never "
            f"checked: {', '.join([*known, *unknown])}; python -m experiments.traces verify checks them"
        )
    if wrong := verdicts["wrong"] + verdicts["no_answer"]:
        lines.append(
            f"{wrong:,} of {description.targets:,} targets ({share_text(wrong / description.targets)}) were found "
            f"wrong ({verdicts['wrong']:,}) or without an answer ({verdicts['no_answer']:,})"
        )
    return lines


def _dropped(description: Description) -> list[str]:
    if not description.dropped:
        return []
    reasons = sorted(description.dropped.items(), key=lambda reason: (-reason[1], reason[0]))
    shown = [f"{reason}: {count:,}" for reason, count in reasons[:_SHOWN_REASONS]]
    if len(reasons) > _SHOWN_REASONS:
        shown.append(f"{len(reasons) - _SHOWN_REASONS} more reasons")
    return [f"{sum(description.dropped.values()):,} were dropped when it was built ({'; '.join(shown)})"]
