"""Which examples does the student already solve, and what would it gain under each supervision? Learned from probes.

    free probe outcomes           -> logistic regression -> p_solved_N   chance that it answers rightly by itself
    teacher-forced outcomes or    -> logistic regression -> reach_NS     chance that it would answer rightly, were it
    training losses                  or ridge regression                 to decode as under this supervision
    reach_NS - p_solved_N, not below 0                   -> gain_NS

Everything is fitted anew from recorded history, in milliseconds, and depends on nothing else. Axes beside those of
`curricula.types`: E encoded features, T tasks, Q fitting rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from curricula.types import Bools, ExampleTable, Floats, Ints, RunState

MIN_ROWS = 12
"""Fewer free outcomes than this say nothing about an example."""
HALF_LIFE_ROUNDS = 1.0
"""An outcome counts half as much for every so many rounds since: the student has moved on."""
MAX_LOSS_ROWS = 1_000
"""Free training losses used for each supervision; more cost time and add nothing."""
REGULARISATION_C = 0.5
TASK_SCALE = 2.0
"""One-hot tasks are scaled up, so that the penalty lets a task's own rate through with few rows."""
_BLOCK_ROWS = 131_072
_DECIMALS = 4
"""Weights are rounded so, that the last bits of a sum change no plan."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """Turns a table's columns into standardised float32 features.

    Example:
        Encoder(tasks=("add",), centre_E=np.zeros(34), scale_E=np.ones(34))
    """

    tasks: tuple[str, ...]  # one-hot after the E features; an example of no known task has none
    centre_E: NDArray[np.float32]
    scale_E: NDArray[np.float32]

    def encode(self, table: ExampleTable, rows: slice | Ints) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Standardised features of some rows, shape (rows, E), clipped to [-5, 5], and their tasks; -1 for unknown."""
        standard_NE = _raw_features(table, rows)
        standard_NE -= self.centre_E
        standard_NE /= self.scale_E
        np.clip(standard_NE, -5.0, 5.0, out=standard_NE)
        place = {task: index for index, task in enumerate(self.tasks)}
        place_T = np.array([place.get(task, -1) for task in table.tasks] + [-1], dtype=np.intp)
        return standard_NE, place_T[table.task_N[rows]]

    def design(self, table: ExampleTable, rows: Ints) -> NDArray[np.float32]:
        """What a model is fitted on: features and scaled one-hot tasks, shape (rows, E + T)."""
        features_QE, task_Q = self.encode(table, rows)
        one_hot_QT = (task_Q[:, None] == np.arange(len(self.tasks))) * np.float32(TASK_SCALE)
        return np.concatenate([features_QE, one_hot_QT], axis=1).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """One fitted linear score of an example.

    Example:
        Linear(weight_E=np.zeros(34), offset_T=np.zeros(1), intercept=-0.7)
    """

    weight_E: NDArray[np.float32]
    offset_T: NDArray[np.float32]
    intercept: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Difficulty:
    """What the recorded outcomes say about any example of either table.

    Example:
        difficulty = fit_difficulty(state)
        hard_N = difficulty.p_solved_N(state.train) < 0.2
    """

    encoder: Encoder
    solved: Linear  # log-odds of answering rightly when decoding freely
    forced: tuple[Linear | None, ...]  # S: log-odds that every target token is the likeliest; None where not bought
    log_loss: tuple[Linear | None, ...]  # S: log of the mean nats per target token; None where nothing was measured

    def p_solved_N(self, table: ExampleTable) -> Floats:
        """Calibrated probability that the student, decoding freely, already solves each example."""
        return _expit(_scores(self.encoder, (self.solved,), table)[:, 0])

    def reach_NS(self, table: ExampleTable) -> Floats:
        """Probability that the student would be right if it decoded as under each supervision.

        Where teacher-forced outcomes were bought: that every target token is the likeliest one. Else, from training
        losses: exp(-loss x target tokens), the probability of sampling the target itself, which is a lower estimate
        (another text may be right as well) and close to 0 for long natural traces. NaN where not offered or unknown.
        """
        reach_NS = np.full(table.target_tokens_NS.shape, np.nan)
        models = [forced or loss for forced, loss in zip(self.forced, self.log_loss, strict=True)]
        known = [column for column, model in enumerate(models) if model is not None]
        score_NK = _scores(self.encoder, tuple(model for model in models if model is not None), table)
        for place, column in enumerate(known):
            if self.forced[column] is not None:
                reach_NS[:, column] = _expit(score_NK[:, place])
            else:
                reach_NS[:, column] = np.exp(-np.exp(score_NK[:, place]) * table.target_tokens_NS[:, column])
        return np.where(table.offered_NS, reach_NS, np.nan)

    def gain_NS(self, table: ExampleTable) -> Floats:
        """What decoding as under each supervision would add to the chance of being right, in [0, 1]; NaN unknown."""
        return np.maximum(self.reach_NS(table) - self.p_solved_N(table)[:, None], 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Measured rows of one table: which, what came out, and how much each counts."""

    table: ExampleTable
    example_Q: Ints
    value_Q: Floats
    weight_Q: Floats


def fit_difficulty(state: RunState) -> Difficulty | None:
    """Fit on all free probe outcomes, recent ones weighing more; None below `MIN_ROWS` of them.

    Logistic regression with an L2 penalty (unpenalised intercept, so that the mean prediction equals the weighted mean
    outcome). Where all outcomes agree, every example gets the same (successes + 1/2) / (rows + 1). The same history
    gives the same fit.
    """
    free = _probe_rows(state, "free", loss=False)
    if free is None or len(free.value_Q) < MIN_ROWS:
        return None
    raw_NE = _raw_features(state.probe, slice(None))
    scale_E = raw_NE.std(axis=0)
    encoder = Encoder(
        tasks=tuple(dict.fromkeys(state.train.tasks + state.probe.tasks)),
        centre_E=raw_NE.mean(axis=0).astype(np.float32),
        scale_E=np.where(scale_E > 1e-3, scale_E, 1.0).astype(np.float32),
    )
    with _one_thread():
        return _fit_all(state, encoder, free)


def _one_thread() -> threadpool_limits:
    """Linear algebra inside takes one thread, so that no last bit of a sum depends on how many cores there are.

    Several would also spend far longer waking each other up than such vectors take, on cores that the workers need.
    """
    return threadpool_limits(1, user_api="blas")


def _fit_all(state: RunState, encoder: Encoder, free: _Rows) -> Difficulty:
    forced: list[Linear | None] = []
    log_loss: list[Linear | None] = []
    for column, name in enumerate(state.train.supervisions):
        outcomes = _probe_rows(state, name, loss=False)
        bought = outcomes is not None and len(outcomes.value_Q) >= MIN_ROWS
        forced.append(_fit_chance(encoder, outcomes, state.seed) if outcomes is not None and bought else None)
        losses = _probe_rows(state, name, loss=True) if bought else _training_loss_rows(state, column)
        log_loss.append(None if losses is None else _fit_log_loss(encoder, losses))
    return Difficulty(
        encoder=encoder,
        solved=_fit_chance(encoder, free, state.seed),
        forced=tuple(forced),
        log_loss=tuple(log_loss),
    )


def _probe_rows(state: RunState, condition: str, *, loss: bool) -> _Rows | None:
    examples, values, weights = [], [], []
    for result in state.history:
        if result.probe is not None:
            rows_P = result.probe.under(condition)
            examples.append(result.probe.example_P[rows_P])
            values.append((result.probe.loss_P if loss else result.probe.solved_P)[rows_P].astype(np.float64))
            weights.append(np.full(len(rows_P), 0.5 ** ((state.rounds - 1 - result.round) / HALF_LIFE_ROUNDS)))
    if sum(len(value) for value in values) == 0:
        return None
    return _Rows(
        table=state.probe,
        example_Q=np.concatenate(examples),
        value_Q=np.concatenate(values),
        weight_Q=np.concatenate(weights),
    )


def _training_loss_rows(state: RunState, column: int) -> _Rows | None:
    # The latest stage that trained on it says enough: earlier losses are of a student that is no more.
    for result in reversed(state.history):
        rows_R = np.flatnonzero((result.supervision_R == column) & np.isfinite(result.loss_R))
        if len(rows_R):
            chosen_R = rows_R[np.linspace(0, len(rows_R) - 1, min(len(rows_R), MAX_LOSS_ROWS)).astype(np.intp)]
            return _Rows(
                table=state.train,
                example_Q=result.example_R[chosen_R],
                value_Q=result.loss_R[chosen_R].astype(np.float64),
                weight_Q=np.ones(len(chosen_R)),
            )
    return None


def _fit_chance(encoder: Encoder, rows: _Rows, seed: int) -> Linear:
    solved_Q: Bools = rows.value_Q > 0.5
    if solved_Q.all() or not solved_Q.any():
        chance = (float(solved_Q.sum()) + 0.5) / (len(solved_Q) + 1.0)
        return _linear(encoder, np.zeros(len(encoder.centre_E) + len(encoder.tasks)), np.log(chance / (1 - chance)))
    model = LogisticRegression(C=REGULARISATION_C, max_iter=200, random_state=seed)
    model.fit(encoder.design(rows.table, rows.example_Q), solved_Q, sample_weight=rows.weight_Q)
    return _linear(encoder, np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))


def _fit_log_loss(encoder: Encoder, rows: _Rows) -> Linear:
    model = Ridge(alpha=1.0 / REGULARISATION_C, solver="cholesky")
    log_loss_Q = np.log(np.maximum(rows.value_Q, 1e-6))
    model.fit(encoder.design(rows.table, rows.example_Q), log_loss_Q, sample_weight=rows.weight_Q)
    return _linear(encoder, model.coef_, float(model.intercept_))


def _linear(encoder: Encoder, weights: NDArray[np.floating], intercept: float) -> Linear:
    features = len(encoder.centre_E)
    rounded = np.round(weights.astype(np.float64), _DECIMALS).astype(np.float32)
    return Linear(
        weight_E=rounded[:features],
        offset_T=rounded[features:] * np.float32(TASK_SCALE),
        intercept=round(float(intercept), _DECIMALS),
    )


def _raw_features(table: ExampleTable, rows: slice | Ints) -> NDArray[np.float32]:
    sizes = np.stack([table.prompt_tokens_N[rows], table.target_tokens_NS[rows].max(axis=1)], axis=1)
    return np.concatenate(
        [
            table.features_ND[rows].astype(np.float32),
            np.log1p(np.maximum(sizes, 0)).astype(np.float32),
            table.kind_N[rows, None].astype(np.float32),
        ],
        axis=1,
    )


def _scores(encoder: Encoder, models: Sequence[Linear], table: ExampleTable) -> Floats:
    # Block by block: a million rows of float32 features at once would take hundreds of megabytes.
    score_NK = np.zeros((len(table), len(models)))
    if not models:
        return score_NK
    weight_EK = np.stack([model.weight_E for model in models], axis=1)
    offset_TK = np.stack([np.append(model.offset_T, np.float32(0.0)) for model in models], axis=1)
    intercept_K = np.array([model.intercept for model in models])
    with _one_thread():
        for start in range(0, len(table), _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, len(table)))
            features_NE, task_N = encoder.encode(table, block)
            score_NK[block] = features_NE @ weight_EK + offset_TK[task_N] + intercept_K
    return score_NK


def _expit(score: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(score, -60.0, 60.0)))
