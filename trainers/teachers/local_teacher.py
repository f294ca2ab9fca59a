"""A teacher on this machine: a Hugging Face model that writes completions in batches, greedily or sampled.

    requests --by length--> batches --phases: rows that have ended leave--> tokens --take_apart--> Completion | Refusal

A sampled token is the likeliest after Gumbel noise [1] of the request's own random numbers, so that what a request
gives does not depend on which others it is batched with, but for the rounding of sums.

[1] E. J. Gumbel, Statistical Theory of Extreme Values, 1954: argmax(log p + Gumbel noise) is a draw from p.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from curricula.rendering import messages, think
from curricula.stream.intake import UnusableError
from curricula.types import Cost
from trainers.batches import round_up
from trainers.measuring import PROMPT_MULTIPLE, generation_ceiling_flops, generation_phases, prompt_batches
from trainers.pricing.flops import generate_flops
from trainers.pricing.shape import model_shape
from trainers.process import default_device
from trainers.student import load_student
from trainers.teachers.replies import Reply, take_apart
from trainers.teachers.sampling import LocalModel, Sampling
from trainers.teachers.teacher import Completion, Refusal, Request

PROMPT_TOO_LONG = "prompt too long for the model"
DEFAULT_POSITIONS = 1024


@dataclass(kw_only=True, eq=False)
class _Row:
    """One completion that is being written."""

    index: int  # of its request
    prompt: list[int]
    most_tokens: int  # it may write
    noise: torch.Generator
    written: list[int] = field(default_factory=list)
    flops: int = 0


class _Noise(LogitsProcessor):
    """Turns the likeliest token into a draw: temperature, the nucleus of probability top_p, Gumbel noise by row."""

    def __init__(self, sampling: Sampling, rows: Sequence[_Row]) -> None:
        self._sampling, self._rows = sampling, rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [rows, vocabulary] whose largest is the token drawn."""
        probabilities = torch.softmax(scores.float() / self._sampling.temperature, dim=-1)
        order = probabilities.sort(dim=-1, descending=True)
        before = order.values.cumsum(dim=-1) - order.values  # of all likelier tokens; the likeliest always stays
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(1, order.indices, before >= self._sampling.top_p)
        width = scores.shape[1]
        uniform = torch.stack([torch.rand(width, generator=row.noise, dtype=torch.float64) for row in self._rows])
        noise = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16))).to(scores.device)
        return (probabilities.double().log() + noise).masked_fill(outside, -torch.inf)


class LocalTeacher:
    """A model that was loaded to teach. FLOPs are those of trainers.pricing.flops for its shape, padding counted.

    Example:
        LocalTeacher(LocalModel(name="t", model="runs/x/student", cache_dir=Path("cache")))
    """

    def __init__(self, settings: LocalModel) -> None:
        """Load it.

        Raises:
            ValueError: there is no such model, its FLOPs cannot be told, or its tokenizer loses the think tags.
        """
        student = load_student(settings.model, seed=settings.sampling.seed, cache_dir=settings.cache_dir)
        self.settings, self.tokenizer, self.pad_id = settings, student.tokenizer, student.pad_id
        self.model, self.shape = student.model.eval(), model_shape(student.model)
        self.model.to(default_device())  # pyright: ignore[reportArgumentType] the stub takes the device for self
        self._check_tags()
        ends = self.model.generation_config.eos_token_id if self.model.generation_config is not None else None
        # Models tuned to chat often end a turn with another token than a text.
        self.end_ids = sorted({student.end_id, *(ends if isinstance(ends, list) else [] if ends is None else [ends])})
        # Its own habits would fill whatever a request leaves open.
        self.model.generation_config = GenerationConfig()
        positions = self.model.config.get_text_config().to_dict().get("max_position_embeddings")
        self.positions = int(positions) if positions else DEFAULT_POSITIONS

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
        for batch_Q in prompt_batches(lengths_Q, batch_rows=self.settings.batch_rows):
            rows: list[_Row] = []
            for index in batch_Q.tolist():
                most_tokens = min(self.settings.sampling.max_tokens, self.positions - len(prompts[index]))
                if most_tokens < 1:
                    yield index, Refusal(reason=PROMPT_TOO_LONG)
                    continue
                noise = torch.Generator().manual_seed(self.settings.sampling.seed_of(requests[index]))
                rows.append(_Row(index=index, prompt=prompts[index], most_tokens=most_tokens, noise=noise))
            for row in self._written(rows):
                yield row.index, self._settle(row)

    def _written(self, running: list[_Row]) -> Iterator[_Row]:
        """The rows of a batch, each when it has ended or may write no more."""
        edges = sorted({start + new for start, new in generation_phases(self.settings.sampling.max_tokens)})
        written = 0
        while running:
            edge = min(next(edge for edge in edges if edge > written), min(row.most_tokens for row in running))
            new, flops = self._continue(running, edge - written)
            share, more = divmod(flops, len(running))
            for place, (row, tokens) in enumerate(zip(running, new, strict=True)):
                end = next((place for place, token in enumerate(tokens) if token in self.end_ids), len(tokens))
                row.written += tokens[: end + 1]
                row.flops += share + (place < more)
            written = edge
            done = [row for row in running if self._ended(row) or len(row.written) >= row.most_tokens]
            yield from done
            running = [row for row in running if row not in done]

    def _ended(self, row: _Row) -> bool:
        return row.written[-1] in self.end_ids

    @torch.inference_mode()
    def _continue(self, rows: Sequence[_Row], new_tokens: int) -> tuple[list[list[int]], int]:
        """Up to `new_tokens` more tokens for each row, padded on the left to one length, and their FLOPs."""
        texts = [row.prompt + row.written for row in rows]
        length = round_up(max(len(text) for text in texts), PROMPT_MULTIPLE)
        ids = np.full((len(texts), length), self.pad_id, dtype=np.int64)
        for place, text in enumerate(texts):
            ids[place, length - len(text) :] = text
        mask = np.arange(length) >= length - np.array([len(text) for text in texts])[:, None]
        sampling = self.settings.sampling
        output = self.model.generate(  # pyright: ignore[reportCallIssue] the mixin's signature is not typed
            input_ids=torch.from_numpy(ids).to(self.model.device),
            attention_mask=torch.from_numpy(mask.astype(np.int64)).to(self.model.device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=new_tokens,
                eos_token_id=self.end_ids,
                pad_token_id=self.pad_id,
                use_cache=True,
            ),
            logits_processor=LogitsProcessorList([_Noise(sampling, rows)] if sampling.temperature > 0 else []),
        )
        new = output[:, length:].cpu().tolist()
        flops = generate_flops(self.shape, rows=len(rows), prompt_length=length, new_tokens=len(new[0]))
        return new, flops

    def _settle(self, row: _Row) -> Completion | Refusal:
        """What a row gives, charged."""
        cost = Cost(flops=row.flops, tokens=len(row.prompt) + len(row.written))
        tokens = [token for token in row.written if token not in self.end_ids and token != self.pad_id]
        reply = Reply(
            content=str(self.tokenizer.decode(tokens)), finish_reason="stop" if self._ended(row) else "length"
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
