"""A teacher on this machine: a Hugging Face model that writes completions in batches, greedily or sampled.

    requests --by length--> batches --our own loop, or vLLM--> tokens --take_apart--> Completion | Refusal

In our own loop a sampled token is the likeliest after Gumbel noise [1] of the request's own random numbers, so that
what a request gives does not depend on which others it is batched with, but for the rounding of sums.

[1] E. J. Gumbel, Statistical Theory of Extreme Values, 1954: argmax(log p + Gumbel noise) is a draw from p.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from curricula.rendering import messages, think
from curricula.stream.intake import UnusableError
from curricula.types import Cost
from trainers.decoding.rows import Row, Terms, greedy
from trainers.decoding.writing import write
from trainers.measuring import generation_ceiling_flops, prompt_batches
from trainers.positions import stated_positions
from trainers.pricing.shape import model_shape
from trainers.process import default_device, default_precision
from trainers.student import load_student
from trainers.teachers.replies import Reply, take_apart
from trainers.teachers.sampling import LocalModel, Sampling
from trainers.teachers.teacher import Completion, Refusal, Request
from trainers.teachers.vllm_engine import Vllm, require_vllm, start_vllm, write_with_vllm

PROMPT_TOO_LONG = "prompt too long for the model"
DEFAULT_POSITIONS = 1024
READING_TOKENS = 2048
"""Of prompts, padding counted, that are read at once."""


class Draw:
    """Turns scores into draws: temperature, the nucleus of probability top_p, Gumbel noise of a row's own."""

    def __init__(self, sampling: Sampling, noise_of: Mapping[int, torch.Generator]) -> None:
        """The random numbers of every row, by its index."""
        self._sampling, self._noise_of = sampling, noise_of

    def __call__(self, scores_BV: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        """The tokens (B,) that are drawn."""
        probabilities = torch.softmax(scores_BV / self._sampling.temperature, dim=-1)
        order = probabilities.sort(dim=-1, descending=True)
        before = order.values.cumsum(dim=-1) - order.values  # of all likelier tokens; the likeliest always stays
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(1, order.indices, before >= self._sampling.top_p)
        width = scores_BV.shape[1]
        noises = [self._noise_of[row.index] for row in rows]
        uniform = torch.stack([torch.rand(width, generator=noise, dtype=torch.float64) for noise in noises])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16))).to(scores_BV.device)
        return (probabilities.double().log() + gumbel).masked_fill(outside, -torch.inf).argmax(-1)


class LocalTeacher:
    """A model that was loaded to teach. FLOPs are those of trainers.pricing.flops for its shape, padding counted.

    Where vLLM writes, it is started when the first request is to be answered, and alone holds the weights.

    Example:
        LocalTeacher(LocalModel(name="t", model="runs/x/student", cache_dir=Path("cache")))
    """

    def __init__(self, settings: LocalModel) -> None:
        """Load it.

        Raises:
            ValueError: there is no such model, its FLOPs cannot be told, its tokenizer loses the think tags, or vLLM
                is to write and is not installed or has no folder to load.
        """
        ours = settings.engine == "own"
        if not ours:
            require_vllm()
        student = load_student(settings.model, seed=settings.sampling.seed, cache_dir=settings.cache_dir, weights=ours)
        if not ours and student.folder is None:
            raise ValueError(
                f"teacher {settings.model!r} is made from a seed, and vLLM loads weights from a folder; --engine own "
                "writes with it"
            )
        self._vllm_folder = None if ours else student.folder
        self.settings, self.tokenizer, self.pad_id = settings, student.tokenizer, student.pad_id
        self.model, self.shape = student.model.eval(), model_shape(student.model)
        if ours:
            self.model.to(default_device())  # pyright: ignore[reportArgumentType] the stub takes the device for self
        self._check_tags()
        ends = self.model.generation_config.eos_token_id if self.model.generation_config is not None else None
        # Models tuned to chat often end a turn with another token than a text.
        own: list[int] = ends if isinstance(ends, list) else [] if ends is None else [ends]
        self.end_ids = sorted({student.end_id, *own})
        self.positions = stated_positions(self.model.config) or DEFAULT_POSITIONS

    @property
    def name(self) -> str:
        """As it stands behind `#`."""
        return self.settings.name

    def _check_tags(self) -> None:
        text = think("3+4=7", "7")
        back = self.tokenizer.decode(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if back != text:
            raise ValueError(
                f"teacher {self.settings.model!r}: its tokenizer does not give back the think tags: {text!r} comes "
                f"back as {back!r}; choose a model whose tokenizer does"
            )

    def toggles(self) -> bool:
        """Whether its chat template makes a difference between thinking and not thinking."""
        return self.render("3+4=?", thinking=True) != self.render("3+4=?", thinking=False)

    def render(self, prompt: str, *, thinking: bool) -> str:
        """A prompt as the model reads it: through its chat template, else followed by a line break."""
        if self.tokenizer.chat_template is None:
            return prompt + "\n"
        return str(
            self.tokenizer.apply_chat_template(
                messages(prompt), tokenize=False, add_generation_prompt=True, enable_thinking=thinking
            )
        )

    def prompt_tokens(self, requests: Sequence[Request]) -> list[list[int]]:
        """Token ids of every prompt."""
        texts = [self.render(request.prompt, thinking=request.thinking) for request in requests]
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def ceiling(self, requests: Sequence[Request]) -> Cost:
        """The most that these requests can take, where every prompt leaves room for `max_tokens`."""
        tokens_Q = np.array([len(ids) for ids in self.prompt_tokens(requests)], dtype=np.int64)
        most_tokens = self.settings.sampling.max_tokens
        flops = generation_ceiling_flops(
            self.shape,
            tokens_Q,
            batch_rows=self.settings.batch_rows,
            max_output_tokens=most_tokens,
            prefix_tokens=0,
        )
        return Cost(flops=flops, tokens=int(tokens_Q.sum()) + len(requests) * most_tokens)

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        """Answer every request once, each with its index: batch by batch, those of a batch as they end."""
        prompts = self.prompt_tokens(requests)
        lengths_Q = np.array([len(ids) for ids in prompts], dtype=np.int64)
        positions = self.positions if self._vllm is None else min(self.positions, self._vllm.positions)
        for batch_Q in prompt_batches(lengths_Q, batch_rows=self.settings.batch_rows):
            rows: list[Row] = []
            for index in batch_Q.tolist():
                most_tokens = min(self.settings.sampling.max_tokens, positions - len(prompts[index]))
                if most_tokens < 1:
                    yield index, Refusal(reason=PROMPT_TOO_LONG)
                    continue
                rows.append(Row(index=index, prompt=prompts[index], most_tokens=most_tokens))
            for row in self._write(requests, rows):
                yield row.index, self._settle(row)

    @cached_property
    def _vllm(self) -> Vllm | None:
        """The engine, where one writes."""
        return None if self._vllm_folder is None else start_vllm(self._vllm_folder, precision=default_precision())

    def _write(self, requests: Sequence[Request], rows: Sequence[Row]) -> Iterator[Row]:
        """Write the rows of some requests."""
        sampling = self.settings.sampling
        seed_of = {row.index: sampling.seed_of(requests[row.index]) for row in rows}
        if self._vllm is not None:
            return write_with_vllm(
                self._vllm, rows, sampling=sampling, seed_of=seed_of, shape=self.shape, end_ids=self.end_ids
            )
        noise_of = {index: torch.Generator().manual_seed(seed) for index, seed in seed_of.items()}
        terms = Terms(
            shape=self.shape,
            end_ids=frozenset(self.end_ids),
            pad_id=self.pad_id,
            choose=Draw(sampling, noise_of) if sampling.temperature > 0 else greedy,
            reading_tokens=READING_TOKENS,
        )
        return write(self.model, rows, terms)

    def _settle(self, row: Row) -> Completion | Refusal:
        """What a row gives, charged."""
        cost = Cost(flops=row.flops, tokens=len(row.prompt) + len(row.written))
        tokens = [token for token in row.written if token not in self.end_ids and token != self.pad_id]
        reply = Reply(
            content=str(self.tokenizer.decode(tokens)), finish_reason="stop" if row.ended(self.end_ids) else "length"
        )
        try:
            reasoning, text = take_apart(reply)
        except UnusableError as error:
            return Refusal(reason=str(error), cost=cost)
        return Completion(
            reasoning=reasoning,
            text=text,
            prompt_tokens=len(row.prompt),
            output_tokens=len(row.written),
            finished=True,
            cost=cost,
        )
