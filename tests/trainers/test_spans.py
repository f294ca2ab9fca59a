"""Span weights: reasoning and answer are told apart in the tokens of any tokenizer, and weigh what they are to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.recipe import Recipe
from curricula.rendering import THINK_CLOSE
from curricula.types import Supervision
from tests.trainers.stages import SEED, small_store, stage_job, stage_trainer
from trainers.batches import pack
from trainers.checkpoint import trained_parameters
from trainers.collate import Rows, collate, supervised_logits, token_losses
from trainers.jobs import StageError
from trainers.spans import span_weights
from trainers.tokenizer import character_tokenizer
from trainers.tokens import IGNORED_LABEL, TokenStore, open_tokens

STEP = 10**9  # buys one


def _byte_tokenizer(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """Bytes, the think tags among them, joined by the merges."""
    pieces = ["<end>", *sorted(ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    backend = Tokenizer(BPE({piece: token for token, piece in enumerate(pieces)}, list(merges)))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = ByteLevelDecoder()
    backend.add_special_tokens(["<end>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", pad_token="<end>", clean_up_tokenization_spaces=False
    )


TOKENIZERS: dict[str, PreTrainedTokenizerBase] = {
    "a tag is a token": character_tokenizer(max_tokens=1024),
    "a tag is many tokens": _byte_tokenizer(),
    "a tag's end joins what follows": _byte_tokenizer(*((">", digit) for digit in "0123456789")),
    "a tag's beginning joins what precedes": _byte_tokenizer(*((digit, "<") for digit in "0123456789")),
}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.build(generate(examples=80, seed=5), name="small")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_think_block_ends_with_the_token_that_ends_its_closing_tag(name: str, corpus: Corpus, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[name]
    store = open_tokens(corpus, tokenizer, max_tokens=4096, cache_dir=tmp_path)
    thinks_S = np.array([Supervision.parse(supervision).thinks for supervision in corpus.supervisions])
    offered_NS = store.target_tokens_NS >= 0
    assert np.array_equal(store.thinking_tokens_NS > 0, offered_NS & thinks_S)
    joined = 0
    for example, column in np.argwhere(store.thinking_tokens_NS > 0)[:200]:
        ids = store.target(int(example), int(column)).tolist()
        count = int(store.thinking_tokens_NS[example, column])
        thought, before = str(tokenizer.decode(ids[:count])), str(tokenizer.decode(ids[: count - 1]))
        assert THINK_CLOSE in thought and THINK_CLOSE not in before
        joined += not thought.endswith(THINK_CLOSE)
    assert (joined > 0) is ("follows" in name)


def test_spans_cover_the_target_and_nothing_else(store: TokenStore) -> None:
    offered = np.argwhere(store.target_tokens_NS >= 0)[::37]
    rows = Rows(store=store, example_R=offered[:, 0], supervision_R=offered[:, 1])
    spans = span_weights(rows, Recipe(reasoning_weight=0.25, answer_weight=2.0))
    assert spans is not None
    lengths = (rows.prompt_tokens_R + rows.target_tokens_R).astype(np.int64)
    batches = pack(np.arange(len(offered)), lengths, rows.target_tokens_R.astype(np.int64), micro_batch_tokens=2000)
    for batch in batches:
        tensors = collate(rows, batch, pad_id=0, device=torch.device("cpu"))
        weight_H = spans.of_tokens(batch.row_B, size=len(tensors.label_H))
        assert np.array_equal(weight_H == 0, (tensors.label_H == IGNORED_LABEL).numpy())
        expected_B = []
        for place, row in enumerate(batch.row_B):
            here = weight_H[(tensors.row_H == place).numpy() & (weight_H > 0)]
            thought = int(rows.thinking_tokens_R[row])
            assert here.tolist() == [0.25] * thought + [2.0] * (int(rows.target_tokens_R[row]) - thought)
            expected_B.append(here.sum())
        assert spans.total(batch.row_B) == pytest.approx(sum(expected_B)) == weight_H.sum()


def test_equal_weights_change_no_bit_and_only_the_ratio_counts(store: TokenStore, tmp_path: Path) -> None:
    digests = []
    for recipe in (
        Recipe(),
        Recipe(reasoning_weight=3.0, answer_weight=3.0),
        Recipe(reasoning_weight=0.5),
        Recipe(reasoning_weight=2.0, answer_weight=4.0),
    ):
        trainer = stage_trainer(store, tmp_path / str(len(digests)))
        digests.append(trainer.train(stage_job(store, ceiling_flops=4 * STEP, recipe=recipe)).state_digest)
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_a_step_is_the_weighted_mean_over_its_tokens_and_reports_what_is_not_weighted(
    store: TokenStore, tmp_path: Path
) -> None:
    trainer = stage_trainer(store, tmp_path)
    job = stage_job(store, ceiling_flops=STEP, recipe=Recipe(reasoning_weight=0.25))
    steps, _ = trainer.plan(job, 0)
    rows = Rows(store=store, example_R=job.example_R, supervision_R=job.supervision_R)
    row_B = steps[0].row_B
    thinks_B = rows.thinking_tokens_R[row_B] > 0
    assert thinks_B.any() and not thinks_B.all()
    model = trainer.student.model.eval()
    weighted, weights, nats_B = torch.zeros(()), 0.0, []
    for row in row_B:  # one by one, with weights written out token by token
        (alone,) = pack(
            np.array([row]),
            np.array([rows.prompt_tokens_R[row] + rows.target_tokens_R[row]], dtype=np.int64),
            np.array([rows.target_tokens_R[row]], dtype=np.int64),
            micro_batch_tokens=1024,
        )
        tensors = collate(rows, alone, pad_id=0, device=model.device)
        loss_H = token_losses(supervised_logits(model, tensors), tensors.label_H)[: alone.supervised_tokens]
        thought = int(rows.thinking_tokens_R[row])
        weighted = weighted + 0.25 * loss_H[:thought].sum() + loss_H[thought:].sum()
        weights += 0.25 * thought + len(loss_H) - thought
        nats_B.append(loss_H.sum().item())
    expected = torch.autograd.grad(weighted / weights, list(trained_parameters(model).values()))
    seen: list[torch.Tensor] = []

    def look(optimizer: torch.optim.Optimizer, *arguments: object) -> None:
        seen.extend(parameter.grad.clone() for group in optimizer.param_groups for parameter in group["params"])

    trainer.trainer.args.max_grad_norm = 0.0  # no clipping
    trainer.optimizer.register_step_pre_hook(look)
    outcome = trainer.train(job)
    assert outcome.steps == 1
    for ours, wanted in zip(seen, expected, strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-3, atol=1e-6)
    sums_R = np.zeros(len(job.example_R))
    np.add.at(sums_R, row_B, nats_B)
    assert outcome.loss_sum_R == pytest.approx(sums_R, rel=1e-4)
    assert outcome.tokens_R.sum() == steps[0].supervised_tokens


def test_a_row_that_would_have_no_weight_is_refused(store: TokenStore, tmp_path: Path) -> None:
    job = stage_job(store, ceiling_flops=STEP, recipe=Recipe(answer_weight=0.0))
    with pytest.raises(StageError, match="row 0 of the stage has no think block"):
        stage_trainer(store, tmp_path).train(job)
    thinks = store.thinking_tokens_NS[job.example_R, job.supervision_R] > 0
    thinking = stage_job(
        store,
        ceiling_flops=2 * STEP,
        recipe=Recipe(answer_weight=0.0),
        example_R=job.example_R[thinks],
        supervision_R=job.supervision_R[thinks],
        share_R=job.share_R[thinks],
        rate_R=job.rate_R[thinks],
        seed=SEED,
    )
    assert stage_trainer(store, tmp_path).train(thinking).steps
