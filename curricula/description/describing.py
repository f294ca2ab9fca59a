"""Puts a corpus into figures (curricula.description.description), in one reading of its two tables.

Axes: N examples, T targets, M targets under one supervision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curricula.columns import supervision_order
from curricula.description.description import Description, Lengths, Offered, Ratios
from curricula.description.overlap import Overlap
from curricula.stream.scan import Scan
from curricula.traces.completions import Completions
from curricula.types import SPLITS, VERDICTS, Cost, Ints, Supervision

_COSTS = ("teach_flops", "teach_tokens", "teach_dollars", "compress_flops", "compress_tokens", "compress_dollars")
_READ = ("example", "supervision", "text", "verdict", "token_ratio", "char_ratio", *_COSTS)

Rows = NDArray[np.int64]
Ratio = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenCounts:
    """Tokens of a corpus, row by row of its tables.

    Example:
        TokenCounts(tokenizer="tiny", prompt_tokens_N=[9, 9], target_tokens_T=[2, 80, 2])
    """

    tokenizer: str
    prompt_tokens_N: Ints
    target_tokens_T: Ints  # end token included


def describe(scan: Scan, *, overlap: Overlap, tokens: TokenCounts | None = None, max_tokens: int | None) -> Description:
    """Read a corpus once and put it into figures.

    Args:
        max_tokens: the longest row, prompt and target, that the student takes; counted only where tokens are given.

    Raises:
        ValueError: the corpus holds no target, or the counts are not those of this corpus.
    """
    if not scan.example_rows or not scan.target_rows:
        raise ValueError(f"corpus {scan.name!r} holds no target")
    if tokens is not None and (len(tokens.prompt_tokens_N), len(tokens.target_tokens_T)) != (
        scan.example_rows,
        scan.target_rows,
    ):
        raise ValueError(
            f"{len(tokens.prompt_tokens_N)} prompts and {len(tokens.target_tokens_T)} targets were counted in tokens, "
            f"corpus {scan.name!r} has {scan.example_rows} and {scan.target_rows}"
        )
    groups, prompt_chars_N = _examples(scan)
    columns = _targets(scan)
    names = supervision_order(columns.names)
    return Description(
        name=scan.name,
        fingerprint=scan.fingerprint,
        examples=scan.example_rows,
        targets=scan.target_rows,
        splits={split: _count(groups, "split", split) for split in SPLITS},
        tasks={
            task: {split: groups["split", split, task] for split in SPLITS if groups["split", split, task]}
            for task in sorted({task for _, _, task in groups})
        },
        domains=_counts(groups, "domain"),
        kinds=_counts(groups, "kind"),
        dropped=dict(scan.dropped),
        tokenizer=None if tokens is None else tokens.tokenizer,
        max_tokens=max_tokens if tokens is not None else None,
        prompt_chars=_lengths(prompt_chars_N),
        prompt_tokens=None if tokens is None else _lengths(tokens.prompt_tokens_N),
        offered=tuple(_offered(name, names, columns, scan.example_rows, tokens, max_tokens) for name in names),
        teach=columns.teach,
        compress=sum((_cost(amounts, "compress") for amounts in columns.costs.values()), Cost()),
        overlap=overlap,
    )


def _examples(scan: Scan) -> tuple[Counter[tuple[str, str, str]], Ints]:
    """Examples counted by (column, its value, task), and the characters of their prompts."""
    groups: Counter[tuple[str, str, str]] = Counter()
    chars = list[Ints]()
    for batch in scan.examples(["task", "domain", "kind", "split", "prompt"]):
        tasks = batch.column("task").to_pylist()
        for column in ("split", "domain", "kind"):
            groups.update(
                (column, value, task) for value, task in zip(batch.column(column).to_pylist(), tasks, strict=True)
            )
        chars.append(_chars(batch.column("prompt")))
    return groups, np.concatenate(chars)


def _count(groups: Counter[tuple[str, str, str]], column: str, value: str) -> int:
    return sum(count for (other, found, _), count in groups.items() if (other, found) == (column, value))


def _counts(groups: Counter[tuple[str, str, str]], column: str) -> dict[str, int]:
    values = sorted({value for other, value, _ in groups if other == column})
    return {value: _count(groups, column, value) for value in values}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Columns:
    """The targets of a corpus without their text: 26 bytes a target."""

    names: list[str]  # of supervisions, as they were met
    example_T: Ints
    supervision_T: NDArray[np.int16]  # index into names
    chars_T: Ints
    verdict_T: NDArray[np.int8]  # index into VERDICTS
    token_ratio_T: Ratio  # NaN where not stored
    char_ratio_T: Ratio
    costs: dict[str, dict[str, float]]  # supervision -> summed amounts by column; whole numbers are exact
    teach: Cost  # of each completion once


def _targets(scan: Scan) -> _Columns:
    places: dict[str, int] = {}
    costs: dict[str, dict[str, float]] = {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("example", "supervision", "chars", "verdict", "t", "c")}
    verdicts = pa.array(VERDICTS, pa.string())
    completions = Completions()
    for batch in scan.targets(_READ):
        completions.add(batch)
        spelled = batch.column("supervision").dictionary_encode()
        here = spelled.dictionary.to_pylist()
        place = np.array([places.setdefault(name, len(places)) for name in here], dtype=np.int16)
        supervision = place[spelled.indices.to_numpy(zero_copy_only=False)]
        for name in here:
            rows = pa.array(np.flatnonzero(supervision == places[name]))
            amounts = costs.setdefault(name, dict.fromkeys(_COSTS, 0))
            for column in _COSTS:
                amounts[column] += sum(batch.column(column).take(rows).to_pylist())
        parts["supervision"].append(supervision)
        parts["example"].append(batch.column("example").to_numpy(zero_copy_only=False).astype(np.int32))
        parts["chars"].append(_chars(batch.column("text")))
        verdict = pc.call_function("index_in", [batch.column("verdict")], pc.SetLookupOptions(value_set=verdicts))
        parts["verdict"].append(verdict.to_numpy(zero_copy_only=False).astype(np.int8))
        parts["t"].append(batch.column("token_ratio").to_numpy(zero_copy_only=False).astype(np.float32))
        parts["c"].append(batch.column("char_ratio").to_numpy(zero_copy_only=False).astype(np.float32))
    joined = {name: np.concatenate(some) for name, some in parts.items()}
    return _Columns(
        names=list(places),
        example_T=joined["example"],
        supervision_T=joined["supervision"],
        chars_T=joined["chars"],
        verdict_T=joined["verdict"],
        token_ratio_T=joined["t"],
        char_ratio_T=joined["c"],
        costs=costs,
        teach=completions.cost(),
    )


def _offered(
    name: str,
    names: Sequence[str],
    columns: _Columns,
    examples: int,
    tokens: TokenCounts | None,
    max_tokens: int | None,
) -> Offered:
    """One supervision in figures."""
    target_M = np.flatnonzero(columns.supervision_T == columns.names.index(name))
    example_M = columns.example_T[target_M]
    reference = _reference(name, names, columns)
    beside_M = _beside(columns, reference, example_M, examples)
    chars_T, tokens_T = columns.chars_T, None if tokens is None else tokens.target_tokens_T
    too_long = None
    if tokens is not None and max_tokens is not None:
        row_tokens_M = tokens.prompt_tokens_N[example_M].astype(np.int64) + tokens.target_tokens_T[target_M]
        too_long = int((row_tokens_M > max_tokens).sum())
    verdicts = np.bincount(columns.verdict_T[target_M], minlength=len(VERDICTS)).tolist()
    return Offered(
        supervision=name,
        targets=len(target_M),
        chars=_lengths(chars_T[target_M]),
        tokens=None if tokens_T is None else _lengths(tokens_T[target_M]),
        reference=reference,
        char_ratios=_paired(chars_T, target_M, beside_M),
        token_ratios=None if tokens_T is None else _paired(tokens_T, target_M, beside_M),
        stored_char_ratios=_ratios(columns.char_ratio_T[target_M]),
        stored_token_ratios=_ratios(columns.token_ratio_T[target_M]),
        verdicts={verdict: count for verdict, count in zip(VERDICTS, verdicts, strict=True) if count},
        too_long=too_long,
        teach=_cost(columns.costs[name], "teach"),
        compress=_cost(columns.costs[name], "compress"),
    )


def _reference(name: str, names: Sequence[str], columns: _Columns) -> str | None:
    """What a supervision's lengths are held against: the full trace of its own teacher, else of the most examples.

    Where there is no full trace, it is the supervision whose targets are longest on average.
    """
    count_S = np.bincount(columns.supervision_T, minlength=len(names))
    chars_S = np.bincount(columns.supervision_T, weights=columns.chars_T) / count_S
    traces = [other for other in names if Supervision.parse(other).kind == "reasoning"]
    traces.sort(key=lambda other: -count_S[columns.names.index(other)])
    if not traces:
        traces = [max(names, key=lambda other: chars_S[columns.names.index(other)])]
    teacher = Supervision.parse(name).teacher
    own = [other for other in traces if Supervision.parse(other).teacher == teacher]
    return None if name in traces else [*own, *traces][0]


def _beside(columns: _Columns, reference: str | None, example_M: Ints, examples: int) -> Rows:
    """For each example the row of its target under the reference; -1 where it offers none."""
    row_N = np.full(examples, -1, dtype=np.int64)
    if reference is not None:
        rows = np.flatnonzero(columns.supervision_T == columns.names.index(reference))
        row_N[columns.example_T[rows]] = rows
    return row_N[example_M]


def _paired(length_T: Ints, target_M: Rows, beside_M: Rows) -> Ratios | None:
    both = beside_M >= 0
    own, other = length_T[target_M[both]].astype(np.float64), length_T[beside_M[both]].astype(np.float64)
    return _ratios(own / other, overall=float(own.sum() / other.sum())) if both.any() else None


def _ratios(ratio_M: Ratio, *, overall: float | None = None) -> Ratios | None:
    known = ratio_M[~np.isnan(ratio_M)]
    if not len(known):
        return None
    p10, p50, p90 = (float(value) for value in np.quantile(known, (0.1, 0.5, 0.9), method="inverted_cdf"))
    return Ratios(n=len(known), p10=p10, p50=p50, p90=p90, overall=overall)


def _lengths(length_M: Ints) -> Lengths:
    p10, p50, p90, p99 = (int(value) for value in np.quantile(length_M, (0.1, 0.5, 0.9, 0.99), method="inverted_cdf"))
    return Lengths(
        p10=p10, p50=p50, p90=p90, p99=p99, most=int(length_M.max()), total=int(length_M.sum(dtype=np.int64))
    )


def _chars(column: pa.Array) -> Ints:
    return pc.call_function("utf8_length", [column]).to_numpy(zero_copy_only=False).astype(np.int32)


def _cost(amounts: Mapping[str, float], purpose: str) -> Cost:
    return Cost(
        flops=int(amounts[f"{purpose}_flops"]),
        tokens=int(amounts[f"{purpose}_tokens"]),
        dollars=float(amounts[f"{purpose}_dollars"]),
    )
