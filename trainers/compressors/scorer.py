"""A small language model that reads traces: how surprising each token was, and how uncertain the model was before it.

Legend: B rows, L positions, H scored positions, V vocabulary; T units of a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from curricula.types import Cost
from trainers.batches import round_up
from trainers.collate import LOGIT_TOLERANCE
from trainers.compressors.measure import Measure
from trainers.positions import stated_positions
from trainers.pricing.flops import forward_flops
from trainers.pricing.shape import model_shape
from trainers.student import Student, load_student

WINDOW_TOKENS = 2048
"""Positions read at once at most: longer texts are read in windows, each with the half before it as its past."""
BATCH_TOKENS = 4096
HEAD_POSITIONS = 512
"""Positions whose logits are held at once: a vocabulary of 150,000 takes 300 MB for them."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text to score, and what is read before it.

    Example:
        Passage(context="3+4=?\\n", text="3+4=7")
    """

    context: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """A text as its model saw it. A unit is a token, or the tokens that share one character.

    Example: of "3+4" by characters.
        Scores(start_T=[0, 1, 2], tokens_T=[1, 1, 1], surprisal_T=[4.1, 2.0, 3.2], entropy_T=[3.9, 2.2, 3.0], ...)
    """

    start_T: NDArray[np.int64]  # the character at which a unit begins; it ends where the next one begins
    tokens_T: NDArray[np.int64]
    surprisal_T: NDArray[np.float64]  # nats, summed over the unit's tokens
    entropy_T: NDArray[np.float64]  # nats, of the model's prediction before each token, summed likewise
    cost: Cost

    @property
    def tokens(self) -> int:
        """Tokens of the text."""
        return int(self.tokens_T.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """One window: its last `scored` ids are scored."""

    passage: int
    ids: list[int]
    scored: int

    @property
    def length(self) -> int:
        # Few distinct lengths, so that rows meet others of theirs.
        return round_up(len(self.ids), 8 if len(self.ids) < 128 else 32)


class Scorer:
    """Reads texts with one model."""

    def __init__(self, student: Student) -> None:
        """Read with a model that is loaded.

        Raises:
            ValueError: its tokenizer or architecture cannot be used.
        """
        self.measure = Measure(student.tokenizer, name=student.name)
        self._model = student.model.eval()
        self._shape = model_shape(student.model)
        self._pad_id = student.pad_id
        bos_id = cast(int | None, student.tokenizer.bos_token_id)
        self._first_id = student.end_id if bos_id is None else bos_id
        config = student.model.config.get_text_config().to_dict()
        self._softcap: float | None = config.get("final_logit_softcapping")
        self._window = min(WINDOW_TOKENS, stated_positions(student.model.config) or WINDOW_TOKENS)
        self._check_logits(student.name)

    @classmethod
    def load(cls, name: str, *, cache_dir: Path, device: str) -> Scorer:
        """A scorer from a student's name, a folder, a hub id or a .gguf file.

        Raises:
            ValueError: there is no such model, or it cannot be used.
        """
        student = load_student(name, seed=0, cache_dir=cache_dir)
        student.model.to(device)  # pyright: ignore[reportArgumentType] the stub takes the device for self
        return cls(student)

    @torch.inference_mode()
    def score(self, passages: Sequence[Passage]) -> list[Scores]:
        """Score every text, in the order given; neither scores nor cost depend on which texts stand together.

        Texts that are empty have no units and cost nothing.
        """
        contexts = self.measure.encode([passage.context for passage in passages])
        texts = self.measure.encode([passage.text for passage in passages])
        rows = [
            row
            for place, ((context, _), (text, _)) in enumerate(zip(contexts, texts, strict=True))
            for row in self._windows(place, context, text)
        ]
        values: dict[int, NDArray[np.float64]] = {}  # row -> (2, scored): surprisal, entropy
        for batch in _batches(rows):
            values.update(zip(batch, self._read([rows[place] for place in batch]), strict=True))
        parts: list[list[int]] = [[] for _ in passages]
        for place, row in enumerate(rows):
            parts[row.passage].append(place)
        return [
            self._scores(start_T, [rows[place] for place in mine], [values[place] for place in mine])
            for (_, start_T), mine in zip(texts, parts, strict=True)
        ]

    def _windows(self, passage: int, context: list[int], text: list[int]) -> Iterator[_Row]:
        """A text in windows: each begins with the end of the context and, after the first, the text just before it."""
        head = [self._first_id, *context][-max(1, self._window // 4) :]
        room = self._window - len(head)
        at = 0
        while at < len(text):
            back = min(at, room // 2)
            scored = min(len(text) - at, room - back)
            yield _Row(passage=passage, ids=[*head, *text[at - back : at + scored]], scored=scored)
            at += scored

    def _read(self, rows: Sequence[_Row]) -> list[NDArray[np.float64]]:
        """Surprisal and entropy (2, scored) of each of some rows of one padded length."""
        ids = np.full((len(rows), rows[0].length), self._pad_id, dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = row.ids
        # Padding stands on the right, where a causal model never looks.
        ids_BL = torch.from_numpy(ids).to(self._model.device)
        hidden_BLd = self._model.base_model(input_ids=ids_BL, use_cache=False).last_hidden_state
        found: list[NDArray[np.float64]] = []
        for place, row in enumerate(rows):
            first = len(row.ids) - row.scored
            pieces = []
            for start in range(first, len(row.ids), HEAD_POSITIONS):
                end = min(start + HEAD_POSITIONS, len(row.ids))
                logp_HV = torch.log_softmax(self._logits(hidden_BLd[place, start - 1 : end - 1]).float(), dim=-1)
                surprisal_H = -logp_HV.gather(1, ids_BL[place, start:end, None])[:, 0]
                # A logit of -inf has no part in the sum; its product would be NaN.
                entropy_H = -(logp_HV.exp() * logp_HV.clamp(min=torch.finfo(torch.float32).min)).sum(-1)
                pieces.append(torch.stack([surprisal_H, entropy_H]).double().cpu().numpy())
            found.append(np.concatenate(pieces, axis=1))
        return found

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        head = self._model.get_output_embeddings()
        assert head is not None, type(self._model)  # a model without one has no shape that could be priced
        logits = head(hidden)
        return logits if self._softcap is None else self._softcap * torch.tanh(logits / self._softcap)

    def _scores(
        self, start_T: NDArray[np.int64], rows: Sequence[_Row], values: Sequence[NDArray[np.float64]]
    ) -> Scores:
        flops = sum(forward_flops(self._shape, rows=1, length=row.length, head_positions=row.scored) for row in rows)
        value_2T = np.concatenate(values, axis=1) if values else np.zeros((2, 0))
        unit_T, first_T, tokens_T = np.unique(start_T, return_index=True, return_counts=True)
        sums = np.add.reduceat(value_2T, first_T, axis=1) if len(first_T) else value_2T
        return Scores(
            start_T=unit_T,
            tokens_T=tokens_T.astype(np.int64),
            surprisal_T=sums[0],
            entropy_T=sums[1],
            cost=Cost(flops=flops, tokens=sum(len(row.ids) for row in rows)),
        )

    @torch.inference_mode()
    def _check_logits(self, name: str) -> None:
        """Refuse a model that changes its logits behind the head in a way not known here."""
        ids = torch.tensor([[self._first_id, *self.measure.encode(["1+1=2"])[0][0]]], device=self._model.device)
        whole = self._model(input_ids=ids, use_cache=False).logits[0]
        ours = self._logits(self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0])
        if not torch.allclose(ours, whole, rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE, equal_nan=True):
            raise ValueError(
                f"scorer {name!r}: {type(self._model).__name__} changes its logits behind the output head, which "
                "scoring would leave out; name a model of another architecture"
            )


def _batches(rows: Sequence[_Row]) -> Iterator[list[int]]:
    """Places of rows to read together: of one padded length, so that no row pays for another's."""
    by_length: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        by_length.setdefault(row.length, []).append(place)
    for length in sorted(by_length):
        size = max(1, BATCH_TOKENS // length)
        places = by_length[length]
        yield from (places[start : start + size] for start in range(0, len(places), size))
