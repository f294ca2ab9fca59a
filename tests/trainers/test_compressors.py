"""Shortened traces keep what carries the result, meet their lengths, and cost what was computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from curricula.procedural import generate
from curricula.rendering import ends_in_answer, split_thinking, think
from curricula.traces.steps import Step, read_steps
from curricula.types import Cost, Example, Target
from trainers.compressors.interface import Compressor, Shortened, Trace, Unshortened
from trainers.compressors.journal import JournaledTeacher
from trainers.compressors.measure import Measure, load_measure
from trainers.compressors.rewrite import Rewrite
from trainers.compressors.scorer import WINDOW_TOKENS, Passage, Scorer
from trainers.compressors.spec import CompressorSpec
from trainers.compressors.steps import Steps, kept_steps
from trainers.compressors.targets import CompressStep, Cuts, trace_of
from trainers.compressors.tokens import Tokens
from trainers.compressors.truncated import Truncated
from trainers.pricing.flops import forward_flops
from trainers.pricing.shape import model_shape
from trainers.student import Student, load_student
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError

CLIPS = Trace(
    prompt="Clips were sold to 48 friends in April, half as many in May. How many in all?",
    trace="Okay, let me see. Half of 48 is 24. I like clips.\n48 + 24 = 72.\nWait, let me check: 72 - 48 = 24. Good.",
    answer="72",
)
CHOICE = Trace(prompt="Red planet?", trace="Venus is hot. Mars is red. So it is Mars.", answer="B", spellings=("Mars",))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student("tiny-0.2m", seed=1, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def scorer(student: Student) -> Scorer:
    return Scorer(student)


def procedural_traces(count: int) -> list[Trace]:
    """Verbose traces of every family."""
    traces = []
    for example in generate(examples=count, seed=2):
        text = next(target.text for target in example.targets if target.supervision == "reasoning")
        trace, _ = split_thinking(text)
        assert trace is not None
        traces.append(Trace(prompt=example.prompt, trace=trace, answer=example.answer))
    return traces


def shortened(compressor: Compressor, traces: Sequence[Trace], *keeps: float) -> list[list[Shortened | None]]:
    """What came of each trace at each share; None where nothing did."""
    outcomes = compressor.compress(traces, np.tile(keeps, (len(traces), 1)))
    return [[one if isinstance(one, Shortened) else None for one in outcome_K] for outcome_K in outcomes]


# The model that scores.


def test_scores_are_those_of_the_model_asked_directly(student: Student, scorer: Scorer) -> None:
    context, text = "3+4=?\n", "3+4 is 7"
    scores = scorer.score([Passage(context=context, text=text)])[0]
    ids = torch.tensor([[student.end_id, *student.tokenizer.encode(context + text)]])
    with torch.no_grad():
        logp = torch.log_softmax(student.model(input_ids=ids).logits[0], dim=-1)[-len(text) - 1 : -1]
    surprisal = [-float(logp[place, token]) for place, token in enumerate(ids[0, -len(text) :])]
    np.testing.assert_allclose(scores.surprisal_T, surprisal, atol=1e-4)
    np.testing.assert_allclose(scores.entropy_T, (-logp.exp() * logp).sum(-1).numpy(), atol=1e-4)
    assert scores.start_T.tolist() == list(range(len(text)))
    shape = model_shape(student.model)
    assert scores.cost.flops == forward_flops(shape, rows=1, length=16, head_positions=len(text))
    assert scores.cost.tokens == 1 + len(context + text)


def test_what_stands_beside_a_text_changes_neither_its_scores_nor_its_cost(scorer: Scorer) -> None:
    passages = [Passage(context=f"{trace.prompt}\n", text=trace.trace) for trace in procedural_traces(13)]
    for passage, together in zip(passages, scorer.score(passages), strict=True):
        alone = scorer.score([passage])[0]
        np.testing.assert_allclose(alone.surprisal_T, together.surprisal_T, atol=1e-4)
        np.testing.assert_allclose(alone.entropy_T, together.entropy_T, atol=1e-4)
        assert alone.cost == together.cost


def test_a_text_longer_than_the_model_reads_is_scored_to_its_end(student: Student, scorer: Scorer) -> None:
    window = student.model.config.max_position_embeddings
    assert window <= WINDOW_TOKENS
    text = "a1+2=3 " * (3 * window // 7)
    long, short = scorer.score([Passage(context="?", text=text), Passage(context="?", text=text[: window // 2])])
    assert len(long.surprisal_T) == len(text)
    assert np.isfinite(long.surprisal_T).all() and (long.surprisal_T > 0).all()
    np.testing.assert_allclose(long.surprisal_T[: window // 2], short.surprisal_T, atol=1e-4)


def test_an_empty_text_costs_nothing(scorer: Scorer) -> None:
    scores = scorer.score([Passage(context="3+4=?", text="")])[0]
    assert (scores.tokens, scores.cost) == (0, Cost())


# Steps.


@pytest.mark.parametrize("signal", ["surprisal", "entropy"])
def test_steps_that_carry_stay_and_the_others_fit_the_share(scorer: Scorer, signal: str) -> None:
    compressor = Steps(scorer, signal="entropy" if signal == "entropy" else "surprisal")
    traces = [CLIPS, CHOICE, *procedural_traces(26)]
    for trace, one_K in zip(traces, shortened(compressor, traces, 0.3, 0.6), strict=True):
        steps = read_steps(trace.trace, prompt=trace.prompt, answers=trace.answers)
        carrying = [trace.trace[step.start : step.end].strip(" \n;,") for step in steps if step.carries]
        for keep, one in zip((0.3, 0.6), one_K, strict=True):
            if one is None:
                assert len(carrying) == len(steps)
                continue
            assert all(text in one.trace for text in carrying)
            assert one.trace and len(one.trace) < len(trace.trace)
            spaces = len(steps)  # a wider gap may replace a narrower one
            carried = sum(len(text) + 2 for text in carrying)
            assert one.kept_tokens <= max(keep * len(trace.trace), carried) + spaces


def test_steps_leaves_checks_out_before_anything_else(scorer: Scorer) -> None:
    (kept,) = shortened(Steps(scorer), [CLIPS], 0.75)[0]
    assert kept is not None
    assert kept.trace.startswith("Okay, let me see. Half of 48 is 24. I like clips.\n48 + 24 = 72.")
    assert "check" not in kept.trace


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(1, 9), st.floats(0, 9)),
        min_size=1,
        max_size=9,
    ),
    st.integers(0, 60),
)
def test_no_better_step_is_left_out_for_a_worse_one(
    rows: list[tuple[bool, bool, bool, int, float]], budget_tokens: int
) -> None:
    steps = [Step(start=0, end=1, verifies=v, repeats=r, carries=c) for v, r, c, _, _ in rows]
    tokens, values = [row[3] for row in rows], [row[4] for row in rows]
    kept = kept_steps(steps, tokens, values, budget_tokens=budget_tokens)
    assert all(keep for step, keep in zip(steps, kept, strict=True) if step.carries)
    carried = sum(count for step, count in zip(steps, tokens, strict=True) if step.carries)
    total = sum(count for count, keep in zip(tokens, kept, strict=True) if keep)
    assert total <= max(budget_tokens, carried)
    for place, step in enumerate(steps):
        if kept[place]:
            continue
        rank = (step.verifies, step.repeats, -values[place])
        worse = [
            tokens[other]
            for other, one in enumerate(steps)
            if kept[other] and not one.carries and (one.verifies, one.repeats, -values[other]) > rank
        ]
        kinds = [(one.verifies, one.repeats) for one, keep in zip(steps, kept, strict=True) if keep and not one.carries]
        assert all(kind <= (step.verifies, step.repeats) for kind in kinds)
        # Without every worse step that was kept, it would not have fitted, or a better kind was not kept whole.
        if any(
            not kept[other] and not one.carries and (one.verifies, one.repeats) < (step.verifies, step.repeats)
            for other, one in enumerate(steps)
        ):
            continue
        assert total - sum(worse) + tokens[place] > budget_tokens


# Tokens.


def test_tokens_keeps_numbers_and_operators_that_carry_and_nothing_new(scorer: Scorer) -> None:
    for keep, one in zip((0.3, 0.6), shortened(Tokens(scorer), [CLIPS], 0.3, 0.6)[0], strict=True):
        assert one is not None
        assert "48 + 24 = 72." in one.trace
        assert "24." in one.trace.split()
        words = iter(CLIPS.trace.split())
        assert all(word in words for word in one.trace.split())  # in order, none of them new
        assert one.kept_tokens <= keep * len(CLIPS.trace) + 2


def test_tokens_meets_its_share_where_nothing_is_protected(scorer: Scorer) -> None:
    trace = Trace(prompt="Why?", trace="because the sky is very blue and so it goes on " * 4 + "yes", answer="yes")
    for keep, one in zip((0.2, 0.5, 0.8), shortened(Tokens(scorer), [trace], 0.2, 0.5, 0.8)[0], strict=True):
        assert one is not None
        assert keep - 0.1 <= one.kept_tokens / one.source_tokens <= keep


# All of them.


def all_compressors(scorer: Scorer) -> list[Compressor]:
    return [Steps(scorer), Tokens(scorer), Truncated(scorer.measure)]


def test_shares_asked_for_together_give_what_each_gives_alone(scorer: Scorer) -> None:
    traces = [CLIPS, *procedural_traces(13)]
    for compressor in all_compressors(scorer):
        together = compressor.compress(traces, np.tile([0.3, 0.6], (len(traces), 1)))
        for column, keep in enumerate((0.3, 0.6)):
            alone = compressor.compress(traces, np.full((len(traces), 1), keep))
            assert [one_K[column] for one_K in together] == [one for (one,) in alone]


def test_other_traces_in_the_batch_change_nothing(scorer: Scorer) -> None:
    traces = [CLIPS, *procedural_traces(13)]
    for compressor in all_compressors(scorer):
        together = compressor.compress(traces, np.full((len(traces), 1), 0.5))
        assert together == [compressor.compress([trace], np.full((1, 1), 0.5))[0] for trace in traces]


def test_a_tokenizer_that_loses_case_and_accents_loses_none_of_what_is_kept(student: Student) -> None:
    pieces = ["<pad>", "<end>", "<unk>", *(chr(code) for code in range(0x20, 0x7F)), "\n"]
    backend = Tokenizer(BPE({piece: place for place, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    lossy = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", add_prefix_space=False
    )
    text = "Caf\u00c9 costs \u20ac 3. I Like It \u4e09\u5341. Then 3 + 4 = 7. Wait, let me check: 7 - 4 = 3 \u2713 Yes."
    assert lossy.decode(lossy.encode(text)) != text
    scorer = Scorer(replace(student, tokenizer=lossy))
    trace = Trace(prompt="\u00c9?", trace=text, answer="7")
    for compressor in all_compressors(scorer):
        (one,) = shortened(compressor, [trace], 0.6)[0]
        assert one is not None
        assert set(one.trace.split()) <= set(text.split())


# The length-matched control.


@given(st.integers(0, 120))
def test_truncated_is_the_longest_beginning_within_a_matched_length(length: int) -> None:
    text = CLIPS.trace
    length = min(length, len(text))
    measure = load_measure("tiny")
    outcome = Truncated(measure).compress([CLIPS], np.array([[length / len(text)]]))[0][0]
    if isinstance(outcome, Unshortened):
        assert length in (0, len(text))
        return
    assert text.startswith(outcome.trace)
    assert outcome.kept_tokens == len(outcome.trace) <= length
    following = text[len(outcome.trace) :].split()[0]
    whole_word = text[len(outcome.trace)].isspace()
    assert len(outcome.trace) + len(following) + 1 > length or not whole_word


# Rewrites.


class Scripted:
    """A teacher that says what was written for it, by sample; each completion costs 10 tokens."""

    name = "scripted"

    def __init__(self, *said: str | Refusal, finished: bool = True, fails_after: int | None = None) -> None:
        self.said, self.finished, self.fails_after = said, finished, fails_after
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        for index in reversed(range(len(requests))):  # not in the order asked
            if len(self.asked) == self.fails_after:
                raise TeacherError("gone")
            self.asked.append(requests[index])
            words = self.said[requests[index].sample]
            cost = Cost(flops=1000, tokens=10, dollars=0.5)
            if isinstance(words, Refusal):
                yield index, words
            else:
                yield (
                    index,
                    Completion(
                        reasoning=None,
                        text=words,
                        prompt_tokens=8,
                        output_tokens=2,
                        finished=self.finished,
                        cost=cost,
                    ),
                )


def rewritten(teacher: Scripted, *keeps: float, attempts: int = 3) -> tuple[Shortened | Unshortened, ...]:
    return Rewrite(teacher, load_measure("tiny"), attempts=attempts).compress([CLIPS], np.array([keeps]))[0]


def test_a_rewrite_that_cannot_be_used_is_asked_for_again_and_charged() -> None:
    teacher = Scripted("48 and a half of it.", CLIPS.trace + " So 72.", "<think>48/2=24, 48+24=72</think>")
    (one,) = rewritten(teacher, 0.3)
    assert isinstance(one, Shortened)
    assert one.trace == "48/2=24, 48+24=72"
    assert one.cost == Cost(flops=3000, tokens=30, dollars=1.5)
    assert [request.sample for request in teacher.asked] == [0, 1, 2]
    assert not any(request.thinking for request in teacher.asked)
    assert "about 30%" in teacher.asked[0].prompt and CLIPS.trace in teacher.asked[0].prompt


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("48 and half of it", "rewrite lost the answer"),
        ("it is 172 or 720", "rewrite lost the answer"),
        ("72 " * 100, "rewrite not shorter"),
        (" ", "empty rewrite"),
        ("72 </think> 72 <think>", "rewrite with think tags inside"),
        (Refusal(reason="filtered", cost=Cost(tokens=10)), "filtered"),
    ],
)
def test_a_rewrite_that_is_never_good_is_left_out_with_its_reason(said: str | Refusal, reason: str) -> None:
    (one,) = rewritten(Scripted(said, said), 0.3, attempts=2)
    assert isinstance(one, Unshortened)
    assert one.reason == reason
    assert one.cost.tokens == 20


def test_a_rewrite_that_was_cut_off_is_not_used() -> None:
    (one,) = rewritten(Scripted("so 72", finished=False), 0.3, attempts=1)
    assert one == Unshortened(reason="rewrite cut off by the limit of tokens", cost=one.cost)


def test_a_killed_rewrite_goes_on_without_asking_again(tmp_path: Path) -> None:
    path, said = tmp_path / "rewrites.jsonl", ("no", "so 72")

    def ask(teacher: Scripted, identity: str = "a") -> list[tuple[Shortened | Unshortened, ...]]:
        journaled = JournaledTeacher(teacher, path, identity=identity)
        return Rewrite(journaled, load_measure("tiny")).compress([CLIPS, CHOICE], np.array([[0.3], [0.4]]))

    with pytest.raises(TeacherError):
        ask(Scripted(*said, "so Mars", fails_after=3))
    with path.open("a") as file:
        file.write('{"key": "cut of')
    rest = Scripted(*said, "so Mars")
    resumed = ask(rest)
    assert len(rest.asked) == 4 + 1 - 3
    path.unlink()
    assert resumed == ask(Scripted(*said, "so Mars"))
    other = Scripted(*said, "so Mars")
    ask(other, identity="b")
    assert len(other.asked) == 5


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rewrites.jsonl"
    path.write_text('{"prompt": 1}\n')
    with pytest.raises(ValueError, match="line 1: no entry of a journal"):
        JournaledTeacher(Scripted("x"), path, identity="a")


# From examples to examples.


def example(*targets: Target, answer: str = "72", name: str = "0") -> Example:
    return Example(task="clips", prompt=CLIPS.prompt, answer=answer, targets=targets, id=name)


FULL = Target(
    supervision="reasoning#gpt", text=think(CLIPS.trace, "72"), verdict="numeric", teach=Cost(tokens=90, dollars=0.25)
)


def step_of(compressor: Compressor, measure: Measure, **cuts: object) -> CompressStep:
    return CompressStep(compressor=compressor, cuts=replace(Cuts(source="reasoning"), **cuts), count=measure.count)


def test_new_targets_stand_beside_the_old_with_their_costs_and_ratios(scorer: Scorer) -> None:
    step = step_of(Steps(scorer), scorer.measure, ratios=(0.3, 0.5))
    intake = step([example(FULL), example(Target(supervision="answer", text="72"), name="1")])
    whole, bare = intake.examples
    assert [target.supervision for target in whole.targets] == [
        "reasoning#gpt",
        "compressed:steps@0.3#gpt",
        "compressed:steps@0.5#gpt",
    ]
    assert whole.targets[0] == FULL
    assert len(bare.targets) == 1
    assert intake.drops == ()
    for target in whole.targets[1:]:
        trace, rest = split_thinking(target.text)
        assert trace is not None and rest == "72"
        assert ends_in_answer(target.text, "72")
        assert target.teach == FULL.teach
        assert target.verdict == "numeric"
        assert target.compress.flops > 0 and target.compress.tokens > len(CLIPS.trace)
        assert target.char_ratio == len(trace) / len(CLIPS.trace)
        assert target.token_ratio == target.char_ratio  # characters are the tokens


def test_a_matched_control_is_as_long_as_its_target_row_by_row(scorer: Scorer) -> None:
    compressed = step_of(Steps(scorer), scorer.measure, ratios=(0.5,))([example(FULL)]).examples
    measure = load_measure("tiny")
    step = step_of(Truncated(measure, matched="steps"), measure, match="compressed:steps@0.5")
    (both,) = step(compressed).examples
    assert both.targets[-1].supervision == "truncated:steps@0.5#gpt"
    lengths = [len(trace_of(target.text, "72") or "") for target in both.targets[-2:]]
    assert 0 <= lengths[0] - lengths[1] <= max(map(len, CLIPS.trace.split())) + 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (replace(FULL, verdict="wrong"), "reasoning#gpt: its answer was found wrong or missing"),
        (replace(FULL, text="<think>3"), "reasoning#gpt: unclosed think block"),
        (replace(FULL, text="<think> </think>72"), "reasoning#gpt: no trace to shorten"),
        (replace(FULL, text="<think>36+36=72</think>72"), "compressed:steps@0.5#gpt: every step carries the result"),
    ],
)
def test_what_cannot_be_shortened_is_counted_and_the_example_stays(scorer: Scorer, target: Target, reason: str) -> None:
    intake = step_of(Steps(scorer), scorer.measure, ratios=(0.5,))([example(target)])
    assert [drop.reason for drop in intake.drops] == [reason]
    assert intake.examples == (example(target),)


def test_a_spelling_that_is_taken_is_refused(scorer: Scorer) -> None:
    step = step_of(Steps(scorer), scorer.measure, ratios=(0.5,))
    with pytest.raises(ValueError, match=r"already.*--label"):
        step(step([example(FULL)]).examples)
    renamed = step_of(Steps(scorer), scorer.measure, ratios=(0.5,), label="again")
    assert renamed([example(FULL)]).examples[0].targets[-1].supervision == "compressed:again@0.5#gpt"


def test_a_teacher_out_of_reach_is_one_line_that_says_how_to_go_on() -> None:
    measure = load_measure("tiny")
    step = step_of(Rewrite(Scripted("x", fails_after=0), measure), measure, ratios=(0.5,))
    with pytest.raises(ValueError, match="gone; the same command goes on"):
        step([example(FULL)])


def test_a_spec_without_what_its_method_needs_is_refused() -> None:
    cuts, cache = Cuts(source="reasoning", ratios=(0.5,)), Path("cache")
    with pytest.raises(ValueError, match="'steps' needs a scorer"):
        CompressorSpec(method="steps", cuts=cuts, cache_dir=cache)
    with pytest.raises(ValueError, match="'rewrite' needs a teacher"):
        CompressorSpec(method="rewrite", cuts=cuts, cache_dir=cache)
