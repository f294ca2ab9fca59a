"""What is kept of a teacher's completions and what is charged for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from controller.traces.journal import JOURNAL, Entry
from controller.traces.pairing import Pairing, PairingPlan, with_answer
from controller.traces.teaching import CORPUS, SUMMARY
from curricula.corpus import Corpus, open_corpus
from curricula.types import Cost, Example, Target
from tests.controller.oracles import Oracle, answer, config, corpus, results, teach
from trainers.teachers.teacher import Completion, Refusal, Request


def test_the_shortest_right_completion_of_each_side_is_kept_and_pays_for_all(tmp_path: Path) -> None:
    teach(tmp_path, Oracle())
    corpus = Corpus.load(tmp_path / CORPUS)
    assert corpus.supervisions == ("answer", "response#oracle", "short#oracle", "reasoning#oracle")
    rows = corpus.targets.to_pylist()
    for example in corpus.examples.to_pylist():
        own = {
            row["supervision"]: row for row in rows if corpus.examples["id"][row["example"]].as_py() == example["id"]
        }
        for thinking, kinds in ((True, ("reasoning", "response")), (False, ("short",))):
            said = [answer(Request(prompt=example["prompt"], thinking=thinking, sample=sample)) for sample in range(3)]
            right = [
                (one.output_tokens, one)
                for one in said
                if isinstance(one, Completion) and one.text.endswith(f" {example['answer']}")
            ]
            asked = example["split"] in ("train", "probe")
            for kind in kinds:
                assert (f"{kind}#oracle" in own) == (asked and bool(right))
            if not (asked and right):
                continue
            best = min(right, key=lambda pair: pair[0])[1]
            text = f"<think>{best.reasoning}</think>{example['answer']}" if thinking else best.text
            assert own[f"{kinds[0]}#oracle"]["text"] == text
            for kind in kinds:
                assert own[f"{kind}#oracle"]["teach_flops"] == sum(one.cost.flops for one in said)
                assert own[f"{kind}#oracle"]["teach_tokens"] == sum(one.cost.tokens for one in said)
                assert own[f"{kind}#oracle"]["teach_dollars"] == pytest.approx(sum(one.cost.dollars for one in said))
            if thinking:
                assert own["response#oracle"]["text"] == best.text


def test_totals_are_those_of_the_journal_and_what_no_target_carries_is_told(tmp_path: Path) -> None:
    teach(tmp_path, Oracle())
    lines = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    _, summary = results(tmp_path)
    spent, sides, targets = summary["spent"], summary["sides_asked"], summary["targets"]
    assert isinstance(spent, dict) and isinstance(sides, dict) and isinstance(targets, dict)
    for unit in ("tokens", "flops", "dollars"):
        assert spent[unit] == pytest.approx(sum(line[unit] for line in lines))
        for side, kind in (("reasoning", "reasoning"), ("reasoning", "response"), ("short", "short")):
            whole = targets[f"{kind}#oracle"][unit] + sides[side]["unspent_on_any_target"][unit]
            assert whole == pytest.approx(sides[side]["spent"][unit])
    for side, thinking in (("reasoning", True), ("short", False)):
        own = [line for line in lines if line["thinking"] is thinking]
        told = sides[side]
        assert told["requests"] == len(own) == told["right"] + told["rejected"] + told["refused"]
        assert told["reasons"] == {"empty completion": told["refused"], "wrong answer": told["rejected"]}
        assert told["tokens_estimated"] == sum("estimated" in line for line in own) > 0
    corpus = Corpus.load(tmp_path / CORPUS)
    assert corpus.dropped["short#oracle: wrong answer"] == sides["short"]["rejected"]
    assert sum(corpus.targets["teach_flops"].to_pylist()) == sum(one["flops"] for one in targets.values())


def test_pairs_may_be_all_that_is_kept(tmp_path: Path) -> None:
    teach(tmp_path / "any", Oracle(), changed=config(samples=1))
    teach(tmp_path / "pairs", Oracle(), changed=config(samples=1, pairs_only=True))
    offered = [open_corpus(tmp_path / name / CORPUS).target_rows_NS() >= 0 for name in ("any", "pairs")]
    both = np.all(offered[0][:, 1:], axis=1)
    assert both.any() and not both.all()
    assert (offered[1][:, 1:] == both[:, None]).all()
    sides = results(tmp_path / "pairs")[1]["sides_asked"]
    assert isinstance(sides, dict)
    assert [told["examples_kept"] for told in sides.values()] == [int(both.sum())] * 2
    assert sum(told["right"] for told in sides.values()) > 2 * int(both.sum())


def test_the_first_may_be_kept_in_place_of_the_shortest() -> None:
    pairing = Pairing(corpus(), PairingPlan(name="t", samples=2, keep="first", sides=("short",)))
    identity, request = next(pairing.missing())
    for sample, text in ((1, "1"), (0, "The answer is 1")):
        outcome = Completion(
            reasoning=None, text=text, prompt_tokens=1, output_tokens=len(text), finished=True, cost=Cost()
        )
        pairing.take(Entry(id=identity, thinking=request.thinking, sample=sample, outcome=outcome))
    assert "The answer is 1" in pairing.corpus().targets["text"].to_pylist()


@pytest.mark.parametrize(
    ("thinking", "changes", "reason"),
    [
        (True, {"reasoning": None}, "did not think"),
        (False, {"reasoning": "hm"}, "thought, though it was not to"),
        (True, {"finished": False}, "cut at the limit of tokens"),
        (True, {"text": "The answer is 8"}, "wrong answer"),
    ],
)
def test_why_a_completion_is_rejected(thinking: bool, changes: dict[str, object], reason: str) -> None:
    pairing = Pairing(corpus(), PairingPlan(name="t"))
    identity = next(pairing.missing())[0]
    right = Completion(
        reasoning="0 and 1" if thinking else None,
        text="1",
        prompt_tokens=1,
        output_tokens=1,
        finished=True,
        cost=Cost(),
    )
    outcome = dataclasses.replace(right, **changes)
    pairing.take(Entry(id=identity, thinking=thinking, sample=0, outcome=outcome))
    tally = pairing.tallies["reasoning" if thinking else "short"]
    assert (tally.rejected, tally.kept, dict(tally.reasons)) == (1, 0, {reason: 1})


def test_nothing_kept_is_an_error_with_the_reasons_and_the_summary_stands(tmp_path: Path) -> None:
    class Silent(Oracle):
        def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
            for index in range(len(requests)):
                yield index, Refusal(reason="empty completion", cost=Cost(tokens=3))

    with pytest.raises(ValueError, match=r"no target was kept of 48 requests \(reasoning: empty completion: 24; short"):
        teach(tmp_path, Silent())
    spent = json.loads((tmp_path / SUMMARY).read_text())["spent"]
    assert spent == {"tokens": 48 * 3, "flops": 0, "dollars": 0.0}
    assert not (tmp_path / CORPUS).exists()


def test_the_teacher_reads_the_instruction_and_the_choices_and_the_student_does_not() -> None:
    example = Example(
        task="t", prompt="Which?", answer="B", kind="choice", choices=("x", "y"), targets=(), split="train"
    )
    targets = (Target(supervision="answer", text="B"),)
    probe = dataclasses.replace(example, prompt="Who?", targets=targets, split="probe")
    corpus = Corpus.build([dataclasses.replace(example, targets=targets), probe], name="c")
    pairing = Pairing(corpus, PairingPlan(name="t", instruction="End with the letter.", limit=1))
    assert {request.prompt for _, request in pairing.missing()} == {"Which?\nA) x\nB) y\n\nEnd with the letter."}
    assert corpus.examples["prompt"].to_pylist() == ["Which?", "Who?"]


def test_a_right_text_that_does_not_end_in_its_answer_gets_it_as_its_last_line() -> None:
    assert with_answer("The answer is 72 clips.", "72") == "The answer is 72 clips.\n#### 72"
    assert with_answer("The answer is 72.", "72") == "The answer is 72."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sides": ()}, "sides must be one or both"),
        ({"samples": 0}, "samples and limit must be at least 1"),
        ({"splits": ()}, "splits must be some of"),
        ({"name": "two words"}, "is not kind"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PairingPlan(name="t"), **changes)
