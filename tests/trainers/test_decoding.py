"""Our loop against transformers' plain generate, one prompt at a time, on every architecture that it knows."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch._ops import OpOverload
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from trainers import measuring
from trainers.batches import round_up
from trainers.decoding import writing
from trainers.decoding.rows import Row, Terms, greedy
from trainers.decoding.writing import knows, write
from trainers.measuring import (
    CACHE_BYTES,
    PROMPT_MULTIPLE,
    Phase,
    generation_ceiling_flops,
    generation_phases,
    spare_columns,
)
from trainers.pricing.flop_residuals import INSTANCES, VOCABULARY, WINDOW, small_config
from trainers.pricing.flops import decode_flops, forward_flops
from trainers.pricing.shape import model_shape

CAP = 40
ENDS = frozenset(range(1, 9))
LENGTHS = (1, 40, 7, WINDOW + 9, 23, 16, 17, 40, 2, WINDOW)
READING_TOKENS = 100


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def _model(config: PreTrainedConfig, attention: str = "sdpa") -> PreTrainedModel:
    """Random weights, large enough that answers differ and some of them end."""
    torch.manual_seed(0)
    if config.model_type == "gemma2":
        attention = "eager"  # soft-capped scores are not known to the other
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(3)
    return model


def _prompts(lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    numbers = random.Random(0)
    return [[numbers.randrange(3, VOCABULARY) for _ in range(length)] for length in lengths]


def _written(
    model: PreTrainedModel, prompts: Sequence[list[int]], *, cap: int = CAP, ends: frozenset[int] = ENDS
) -> list[Row]:
    """The rows in the order asked, all written."""
    terms = Terms(shape=model_shape(model), end_ids=ends, pad_id=0, choose=greedy, reading_tokens=READING_TOKENS)
    rows = [Row(index=index, prompt=prompt, most_tokens=cap) for index, prompt in enumerate(prompts)]
    done = list(write(model, rows, terms))
    assert sorted(row.index for row in done) == list(range(len(prompts)))
    return rows


def _plain(model: PreTrainedModel, prompt: list[int], *, cap: int = CAP) -> list[int]:
    config = GenerationConfig(do_sample=False, max_new_tokens=cap, pad_token_id=0, eos_token_id=sorted(ENDS))
    ids = torch.tensor([prompt])
    output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)  # pyright: ignore[reportCallIssue]
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", INSTANCES)
def test_every_architecture_writes_what_plain_generate_writes(name: str) -> None:
    model = _model(small_config(name))
    assert knows(model)
    prompts = _prompts()
    written = [row.written for row in _written(model, prompts)]
    assert written == [_plain(model, prompt) for prompt in prompts]
    assert len({tuple(tokens) for tokens in written}) > 5


def _products_stand_alone(count: int = len(LENGTHS), width: int = 64, mlp_width: int = 96) -> bool:
    """Whether a row of a product in bf16 has the same bits beside others, which depends on the processor."""
    numbers = torch.Generator().manual_seed(0)
    for inputs, outputs in ((width, width), (width, mlp_width), (mlp_width, width), (width, VOCABULARY)):
        rows = torch.randn((count, inputs), generator=numbers).bfloat16()
        weight = torch.randn((outputs, inputs), generator=numbers).bfloat16()
        if not torch.equal(linear(rows, weight), torch.cat([linear(row[None], weight) for row in rows])):
            return False
    return True


@pytest.mark.skipif(not _products_stand_alone(), reason="rows of a product in bf16 are not computed apart here")
@pytest.mark.parametrize("name", ["Llama", "SmolLM2 (grouped queries, tied)", "Mistral", "GPT-2"])
def test_in_half_precision_every_answer_is_what_plain_generate_writes_for_the_prompt_alone(name: str) -> None:
    model = _model(small_config(name))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    prompts = _prompts()
    assert [row.written for row in _written(model, prompts)] == [_plain(model, prompt) for prompt in prompts]


@pytest.mark.skipif(not _products_stand_alone(32, 576, 1536), reason="32 rows in bf16 are not computed apart here")
def test_in_half_precision_many_wide_rows_are_not_written_at_once() -> None:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=576, num_hidden_layers=2, num_attention_heads=9, intermediate_size=1536
    )
    model = _model(config).bfloat16()
    prompts = _prompts([5] * 64)
    assert [row.written for row in _written(model, prompts)] == [_plain(model, prompt) for prompt in prompts]


@pytest.mark.parametrize("name", ["Llama", "Mistral", "OLMo 3"])
def test_neither_fewer_slots_nor_phases_change_what_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(small_config(name))
    prompts = _prompts()
    at_once = [row.written for row in _written(model, prompts)]
    lengths = {len(tokens) for tokens in at_once}
    assert CAP in lengths and min(lengths) < CAP  # some leave early
    for phases in (
        [Phase(start=0, end=CAP, rows=3)],
        [Phase(start=0, end=CAP, rows=1)],
        [Phase(start=0, end=5, rows=8), Phase(start=5, end=23, rows=4), Phase(start=23, end=CAP, rows=2)],
    ):
        monkeypatch.setattr(writing, "generation_phases", lambda *_, phases=phases, **__: phases)
        assert [row.written for row in _written(model, prompts)] == at_once


@pytest.mark.parametrize(
    "config",
    [
        GPTNeoXConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=300),
        LlamaConfig(
            **{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96},
            **{"vocab_size": 300, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        ),
    ],
    ids=["architecture", "angles"],
)
def test_what_our_loop_does_not_know_is_written_by_generate(config: PreTrainedConfig) -> None:
    model = _model(config)
    assert not knows(model)
    prompts = _prompts()
    rows = _written(model, prompts)
    assert [row.written for row in rows] == [_plain(model, prompt) for prompt in prompts]
    assert 0 < sum(row.flops for row in rows) <= _ceiling(model, prompts)


@pytest.mark.parametrize("name", ["SmolLM2 (grouped queries, tied)", "Gemma 2", "Phi-3", "GPT-2"])
def test_writing_costs_what_torch_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(small_config(name), "eager")
    monkeypatch.setattr(writing, "generation_phases", lambda *_, **__: [Phase(start=0, end=12, rows=3)])
    with FlopCounterMode(display=False) as counter:
        rows = _written(model, _prompts([WINDOW - 5, 3, WINDOW + 9, 20, 41]), cap=12)
    assert sum(row.flops for row in rows) == pytest.approx(counter.get_total_flops(), rel=0.001)


def test_a_row_that_has_ended_is_computed_no_further() -> None:
    rows = _written(_model(small_config("Llama")), _prompts())
    assert [row.positions for row in rows] == [
        round_up(len(row.prompt), PROMPT_MULTIPLE) + len(row.written) - 1 for row in rows
    ]


def _ceiling(model: PreTrainedModel, prompts: Sequence[list[int]], cap: int = CAP) -> int:
    return generation_ceiling_flops(
        model_shape(model),
        np.array([len(prompt) for prompt in prompts]),
        batch_rows=len(prompts),
        max_output_tokens=cap,
        prefix_tokens=0,
    )


def test_the_ceiling_is_the_price_where_all_prompts_are_as_long_and_all_answers_run_to_the_cap() -> None:
    model, never = _model(small_config("Mistral")), frozenset({VOCABULARY})
    for lengths in ([32] * 20, [*LENGTHS, *LENGTHS]):
        rows = _written(model, _prompts(lengths), ends=never, cap=12)
        longest = _ceiling(model, _prompts([round_up(max(lengths), PROMPT_MULTIPLE)] * len(lengths)), cap=12)
        spent = sum(row.flops for row in rows)
        assert spent <= _ceiling(model, _prompts(lengths), cap=12) <= longest
        assert (spent == longest) == (len(set(lengths)) == 1)


def test_rows_for_which_there_is_room_all_begin_before_the_first_step() -> None:
    model, lengths = _model(small_config("Llama")), [*LENGTHS, *LENGTHS]
    shape = model_shape(model)
    rows = _written(model, _prompts(lengths), ends=frozenset({VOCABULARY}), cap=12)
    read = sum(
        forward_flops(shape, rows=1, length=round_up(length, PROMPT_MULTIPLE), head_positions=1) for length in lengths
    )
    steps = sum(decode_flops(shape, rows=len(lengths), attended=max(lengths) + step) for step in range(1, 12))
    assert sum(row.flops for row in rows) == read + steps


@pytest.mark.parametrize("room", [1.5, 4.5, 7.5])
def test_little_room_is_kept_to_and_the_ceiling_holds(room: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = _model(small_config("Llama")), _prompts()
    at_once = [row.written for row in _written(model, prompts)]
    shape, columns = model_shape(model), max(LENGTHS) + CAP
    row_bytes = 4 * shape.layers * 2 * 64 * (columns + spare_columns(columns))  # keys and values, 64 wide each, fp32
    monkeypatch.setattr(measuring, "CACHE_BYTES", int(room * row_bytes))
    monkeypatch.setattr(measuring, "EDGES_TOKENS", (8, 20))
    shape = dataclasses.replace(shape, parameters=0)
    phases = generation_phases(shape, rows=len(LENGTHS), longest=max(LENGTHS), max_output_tokens=CAP)
    assert [(phase.start, phase.end) for phase in phases] == [(0, 8), (8, 20), (20, CAP)]
    assert phases[-1].rows == int(room) and phases[0].rows > phases[-1].rows
    monkeypatch.setattr(writing, "generation_phases", lambda *_, **__: phases)
    rows = _written(model, prompts)
    assert [row.written for row in rows] == at_once
    ceiling = generation_ceiling_flops(
        shape, np.array(LENGTHS), batch_rows=len(LENGTHS), max_output_tokens=CAP, prefix_tokens=0
    )
    assert sum(row.flops for row in rows) <= ceiling


@pytest.mark.parametrize("cap", [1, 512, 513, 2000, 100_000])
def test_phases_write_the_cap_in_all_with_bounded_memory(cap: int) -> None:
    shape = model_shape(_model(small_config("Llama")))
    for rows in (1, 128, 5000):
        phases = generation_phases(shape, rows=rows, longest=300, max_output_tokens=cap)
        assert [phase.start for phase in phases] == [0, *(phase.end for phase in phases[:-1])]
        assert phases[-1].end == cap
        for phase in phases:
            columns = 300 + phase.end
            taken = 4 * shape.layers * 2 * 64 * (columns + spare_columns(columns)) * phase.rows
            assert phase.rows >= 1 and (taken <= CACHE_BYTES or phase.rows == 1)


def test_a_cap_of_100_000_tokens_costs_nothing_that_is_not_written() -> None:
    model, often = _model(small_config("Llama")), frozenset(range(1, 150))
    rows = _written(model, _prompts(), cap=100_000, ends=often)
    assert [row.written for row in rows] == [row.written for row in _written(model, _prompts(), ends=often)]
    assert max(len(row.written) for row in rows) < CAP


class _Made(TorchDispatchMode):
    """Notes how many numbers each cache of keys or of values has that is made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(
        self,
        func: OpOverload[..., torch.Tensor],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> torch.Tensor:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.new_zeros.default and made.dim() == 4:
            self.sizes.append(made.numel())
        return made


@pytest.mark.parametrize("side_by_side", [4, 10])
def test_a_row_that_is_left_alone_takes_the_memory_of_one(side_by_side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    phases = [Phase(start=0, end=CAP, rows=side_by_side), Phase(start=CAP, end=4 * CAP, rows=side_by_side)]
    monkeypatch.setattr(writing, "generation_phases", lambda *_, **__: phases)
    model = _model(small_config("Llama"))
    terms = Terms(
        shape=model_shape(model),
        end_ids=frozenset({1}),
        pad_id=0,
        choose=lambda _, rows: torch.tensor([1 if row.index else 9 for row in rows]),
        reading_tokens=READING_TOKENS,
    )
    rows = [Row(index=index, prompt=[5] * 30, most_tokens=4 * CAP) for index in range(10)]
    with _Made() as made:
        assert len(list(write(model, rows, terms))) == 10
    assert len(rows[0].written) == 4 * CAP
    one, columns = 64, 30 + 4 * CAP  # keys of one position; positions of the whole row
    assert made.sizes[0] >= side_by_side * one * 30
    assert made.sizes[-1] <= one * (columns + spare_columns(columns))
