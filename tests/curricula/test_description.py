"""A corpus in figures, against counting it by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.corpus import Corpus
from curricula.description.describing import TokenCounts, describe
from curricula.description.description import Description, Offered
from curricula.description.overlap import READ_COLUMNS, Overlap, measure_overlap
from curricula.folder import CONTENT_FILES
from curricula.rendering import think
from curricula.stream.scan import Scan, scan_corpus, scan_folder
from curricula.types import VERDICTS, Cost, Example, Target, Verdict

NO_OVERLAP = Overlap(
    run_words=13, train_prompts=0, repeated=0, near_copies=0, repeated_pairs=(), near_pairs=(), leakage=()
)
FREE = Cost()
NAMES = ("answer", "response#q", "short#q", "reasoning#q", "reasoning#r", "compressed:steps@0.3#q", "truncated@0.3#q")


def target(
    name: str, length: int, verdict: Verdict = "declared", *, teach: Cost = FREE, compress: Cost = FREE
) -> Target:
    """A target for the answer "7" with a trace of so many characters, or with so many before its answer."""
    thinks = name.partition("#")[0].partition(":")[0].partition("@")[0] in ("reasoning", "compressed", "truncated")
    text = think("x" * length, "7") if thinks else "7" if name == "answer" else f"{'x' * length} 7"
    return Target(supervision=name, text=text, verdict=verdict, teach=teach, compress=compress)


def corpus_of(*targets_N: tuple[Target, ...]) -> Corpus:
    """A corpus with these targets and, at the end, an example in the probe split."""
    examples = [
        Example(task="t" if row % 2 else "s", prompt=f"prompt {row}", answer="7", targets=targets, split="train")
        for row, targets in enumerate(targets_N)
    ]
    probe = Example(task="t", prompt="the probe", answer="7", targets=(target("answer", 0),), split="probe")
    return Corpus.build([*examples, probe], name="made")


def described(corpus: Corpus, *, max_tokens: int | None = None, tokens: TokenCounts | None = None) -> Description:
    return describe(scan_corpus(corpus), overlap=NO_OVERLAP, tokens=tokens, max_tokens=max_tokens)


def under(description: Description, name: str) -> Offered:
    return next(part for part in description.offered if part.supervision == name)


def test_examples_are_counted_by_split_task_domain_and_kind() -> None:
    answer = (Target(supervision="answer", text="B"),)
    choice = Example(task="c", prompt="which", answer="B", choices=("x", "y"), kind="choice", targets=answer)
    examples = [
        Example(task="t", prompt="one", answer="7", targets=(target("answer", 0),), split="train"),
        Example(task="t", prompt="two", answer="7", targets=(target("answer", 0),), split="probe"),
        Example(task="s", prompt="three", answer="7", targets=(target("answer", 0),), split="dev", domain="transfer"),
        dataclasses.replace(choice, split="train"),
    ]
    description = described(Corpus.build(examples, name="made"))
    assert (description.examples, description.targets) == (4, 4)
    assert list(description.splits.items()) == [("train", 2), ("probe", 1), ("dev", 1), ("test", 0)]
    assert description.tasks == {"c": {"train": 1}, "s": {"dev": 1}, "t": {"train": 1, "probe": 1}}
    assert description.domains == {"in_domain": 3, "transfer": 1}
    assert description.kinds == {"choice": 1, "open": 3}


lengths = st.lists(st.integers(1, 400), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(traces=lengths, data=st.data())
def test_lengths_and_ratios_are_those_of_a_count_by_hand(traces: list[int], data: st.DataObject) -> None:
    shorter = [data.draw(st.none() | st.integers(1, length)) for length in traces]
    corpus = corpus_of(
        *(
            (target("reasoning#q", length), *([] if cut is None else [target("compressed:steps@0.3#q", cut)]))
            for length, cut in zip(traces, shorter, strict=True)
        )
    )
    description = described(corpus)
    whole = sorted(len(think("x" * length, "7")) for length in traces)
    part = under(description, "reasoning#q")
    assert (part.targets, part.chars.most, part.chars.total) == (len(whole), whole[-1], sum(whole))
    for share, found in ((0.1, part.chars.p10), (0.5, part.chars.p50), (0.9, part.chars.p90), (0.99, part.chars.p99)):
        assert found == whole[math.ceil(share * len(whole) - 1e-9) - 1]
    assert part.reference is None and part.char_ratios is None
    pairs = [(cut + 16, length + 16) for cut, length in zip(shorter, traces, strict=True) if cut is not None]
    if pairs:
        ratios = under(description, "compressed:steps@0.3#q").char_ratios
        assert ratios is not None and ratios.n == len(pairs)
        assert ratios.overall == pytest.approx(sum(cut for cut, _ in pairs) / sum(length for _, length in pairs))
        expected = sorted(cut / length for cut, length in pairs)
        assert ratios.p50 == pytest.approx(expected[math.ceil(len(expected) / 2) - 1])


def test_a_length_is_held_against_the_trace_of_the_same_teacher() -> None:
    corpus = corpus_of(*[tuple(target(name, 10 + 5 * place) for place, name in enumerate(NAMES))] * 3)
    references = {part.supervision: part.reference for part in described(corpus).offered}
    assert references == {
        **dict.fromkeys(NAMES, "reasoning#q"),
        "reasoning#q": None,
        "reasoning#r": None,
    }
    others = corpus_of(*[(target("answer", 0), target("short", 40), target("compressed:equations", 9))] * 3)
    references = {part.supervision: part.reference for part in described(others).offered}
    assert references == {"answer": "short", "short": None, "compressed:equations": "short"}


def test_supervisions_stand_by_kind_whatever_their_order_in_the_corpus() -> None:
    corpus = corpus_of(
        (target("truncated@0.3#q", 3), target("short#q", 3)), (target("reasoning#q", 9), target("answer", 0))
    )
    assert [part.supervision for part in described(corpus).offered] == [
        "answer",
        "short#q",
        "reasoning#q",
        "truncated@0.3#q",
    ]


def test_verdicts_are_counted_and_only_what_was_looked_at_counts_as_checked() -> None:
    found: list[Verdict] = [*VERDICTS, "numeric", "wrong", "unchecked"]
    corpus = corpus_of(*((target("short", row, verdict),) for row, verdict in enumerate(found)))
    part = under(described(corpus), "short")
    assert part.verdicts == {verdict: found.count(verdict) for verdict in VERDICTS}
    assert (part.found_right, part.checked) == (5, 8)
    assert described(corpus).verdicts()["declared"] == 2  # the probe's answer is the other


def test_a_completion_is_paid_once_in_all_and_whole_by_each_supervision() -> None:
    on, off, other = Cost(flops=2**62, tokens=900, dollars=0.5), Cost(flops=7, tokens=3), Cost(tokens=40)
    cut = Cost(flops=2**61, tokens=5)
    made = tuple(
        target(name, 9, teach=teach, compress=compress)
        for name, teach, compress in (
            ("response#q", on, Cost()),
            ("short#q", off, Cost()),
            ("reasoning#q", on, Cost()),
            ("reasoning#r", other, Cost()),
            ("compressed:steps@0.3#q", on, cut),
            ("truncated@0.3#q", on, cut),
        )
    )
    # More examples than are read at once: an example's targets may stand in two batches.
    description = described(corpus_of(*[made] * 401))
    assert description.teach == Cost(flops=401 * (2**62 + 7), tokens=401 * 943, dollars=200.5)
    assert description.compress == Cost(flops=401 * 2**62, tokens=401 * 10)
    part = under(description, "compressed:steps@0.3#q")
    assert (part.teach, part.compress) == (
        Cost(flops=401 * 2**62, tokens=401 * 900, dollars=200.5),
        Cost(flops=401 * 2**61, tokens=401 * 5),
    )
    assert under(description, "answer").teach == Cost()


def test_rows_longer_than_the_student_takes_are_counted_with_their_prompts() -> None:
    corpus = corpus_of((target("answer", 0), target("short", 9)), (target("short", 20),))
    assert corpus.targets["supervision"].to_pylist() == ["answer", "short", "short", "answer"]
    tokens = TokenCounts(
        tokenizer="t",
        prompt_tokens_N=np.array([5, 6, 1], dtype=np.int32),
        target_tokens_T=np.array([2, 10, 10, 2], dtype=np.int32),
    )
    description = described(corpus, tokens=tokens, max_tokens=15)
    assert [part.too_long for part in description.offered] == [0, 1]
    assert description.prompt_tokens is not None and description.prompt_tokens.total == 12
    short = under(description, "short").tokens
    assert short is not None and (short.most, short.total) == (10, 20)
    ratios = under(description, "answer").token_ratios
    assert ratios is not None and (ratios.n, ratios.p50) == (1, 0.2)
    assert described(corpus).offered[0].too_long is None
    with pytest.raises(ValueError, match="3 prompts and 3 targets were counted in tokens, corpus 'made' has 3 and 4"):
        wrong = dataclasses.replace(tokens, target_tokens_T=tokens.target_tokens_T[:3])
        described(corpus, tokens=wrong, max_tokens=15)


def test_ratios_that_a_compressor_stored_are_kept_apart() -> None:
    stored = [
        dataclasses.replace(target("compressed:steps@0.3", 5), token_ratio=ratio, char_ratio=ratio / 2)
        for ratio in (0.2, 0.3, 0.4)
    ]
    description = described(corpus_of(*((one,) for one in stored), (target("compressed:steps@0.3", 5),)))
    part = under(description, "compressed:steps@0.3")
    assert part.stored_token_ratios is not None and part.stored_char_ratios is not None
    assert (part.stored_token_ratios.n, part.stored_token_ratios.overall) == (3, None)
    assert part.stored_token_ratios.p50 == pytest.approx(0.3)
    assert part.stored_char_ratios.p90 == pytest.approx(0.2)


def test_a_folder_read_in_batches_gives_what_memory_gives(tmp_path: Path) -> None:
    corpus = corpus_of(*[(target("answer", 0), target("reasoning", row % 90 + 1)) for row in range(1500)])
    corpus.save(tmp_path / "saved")
    made = []
    for scan in (scan_corpus(corpus), scan_folder(tmp_path / "saved")):
        overlap = measure_overlap(lambda scan=scan: scan.examples(READ_COLUMNS))
        made.append(describe(scan, overlap=overlap, max_tokens=None))
    assert made[0] == made[1]
    assert made[0].examples == 1501


def scans(folder: Path) -> Scan:
    """A saved corpus, to be damaged."""
    corpus_of((target("answer", 0),)).save(folder)
    return scan_folder(folder)


@pytest.mark.parametrize("file_name", CONTENT_FILES)
def test_a_damaged_folder_is_refused_by_the_name_of_its_file(tmp_path: Path, file_name: str) -> None:
    scans(tmp_path / "saved")
    for content in ("{}", "{"):
        (tmp_path / "saved" / file_name).write_text(content)
        with pytest.raises(ValueError, match=f"{file_name}|is not a corpus"):
            scan_folder(tmp_path / "saved")
    (tmp_path / "saved" / file_name).unlink()
    with pytest.raises(ValueError, match=f"{file_name} is missing"):
        scan_folder(tmp_path / "saved")


def test_what_was_dropped_is_told(tmp_path: Path) -> None:
    scans(tmp_path / "saved")
    about = json.loads((tmp_path / "saved" / "corpus.json").read_text("utf-8"))
    (tmp_path / "saved" / "corpus.json").write_text(json.dumps({**about, "dropped": {"cut": 3}}), "utf-8")
    description = describe(scan_folder(tmp_path / "saved"), overlap=NO_OVERLAP, max_tokens=None)
    assert description.dropped == {"cut": 3}
