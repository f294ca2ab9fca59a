"""How a student answers a query, with what is not known of it: figures, their intervals, and draws that carry both.

Everything uncertain is an array over draws. The first entry is the measurement itself, the others are what it might
have been; whatever is computed from it is computed for every draw, and its interval read off at the end.

    D  draws, the measurement first        K  runs of one recipe, alike but for their seed        Q  questions
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from curricula.types import Bools, Floats, Ints
from evaluators.accuracy import wilson
from evaluators.resampling import ENOUGH_SEEDS
from trainers.pricing.flops import ModelShape, generate_flops

NORMAL_975 = 1.959963984540054
"""The standard normal's quantile at which a 95% interval ends."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number with its 95% interval, in the unit that the place where it stands names.

    Example: a cost per correct answer that is finite as measured, and without limit if nothing was right but by luck.
        Figure(value=0.25, ci95=(0.08, math.inf))
    """

    value: float | None  # None where there is no such number, such as the cost of a correct answer where none is
    ci95: tuple[float, float] | None = None  # None where none was measured


@dataclass(frozen=True, kw_only=True, eq=False)
class Answering:
    """What one pass over a query takes and how often it is right: means over queries, for every draw.

    Example: 80% right, 30 tokens written on average; no interval.
        Answering(accuracy_D=np.array([0.8]), prompt_tokens_D=np.array([40.0]), output_tokens_D=np.array([30.0]),
                  flops_D=np.array([9e7]), second_flops_D=np.array([1.2e8]))
    """

    accuracy_D: Floats
    prompt_tokens_D: Floats
    output_tokens_D: Floats  # end token counted
    flops_D: Floats  # of one pass
    second_flops_D: Floats  # of a second pass that reads prompt and first answer and writes as much again

    def __post_init__(self) -> None:
        columns = (
            self.accuracy_D,
            self.prompt_tokens_D,
            self.output_tokens_D,
            self.flops_D,
            self.second_flops_D,
        )
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(f"the columns of Answering must be of one length, at least 1, got {lengths}")
        if not all(np.isfinite(column).all() and (column >= 0).all() for column in columns):
            raise ValueError("accuracies, tokens and FLOPs of Answering must be numbers of 0 or more")
        if (self.accuracy_D > 1).any():
            raise ValueError(f"accuracies must lie in [0, 1], got {float(self.accuracy_D.max())}")


def interval95(x_D: Floats) -> tuple[float, float] | None:
    """The 2.5% and 97.5% quantiles of the draws after the first (entries of the sample, so infinities may stand among
    them); None where there are none."""
    ordered = np.sort(x_D[1:])
    if len(ordered) == 0:
        return None
    low, high = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.025, 0.975))
    return float(low), float(high)


def figure(x_D: Floats) -> Figure:
    """The measurement and the interval of the draws; neither where it is infinite throughout."""
    interval = interval95(x_D)
    if interval is not None and math.isinf(interval[0]):
        interval = None
    return Figure(value=float(x_D[0]) if math.isfinite(x_D[0]) else None, ci95=interval)


def answering_from_questions(
    shape: ModelShape | None,
    *,
    correct_KQ: Bools,
    output_tokens_KQ: Ints,
    prompt_tokens_Q: Ints,
    seed: int,
    draws: int = 2000,
) -> Answering:
    """Draws over runs and questions, these with replacement. FLOPs are exact for every question.

    From ENOUGH_SEEDS runs on these are redrawn too: a two-level bootstrap. Of fewer, a bootstrap shows too small a
    spread (of two runs, their own range), so a mean over runs is drawn from the t distribution with runs - 1 degrees
    of freedom around it, and kept between the least and the greatest value measured. One run has no spread of its own.

    The same seed and numbers of runs and questions draw the same ones, so that students measured on the same questions
    are compared pair by pair. Where all answers are right, or all wrong, a bootstrap knows no other outcome: accuracies
    are then drawn from Wilson's interval for one run's questions.

    Args:
        shape: of the student; None where answers are paid by the token, and their FLOPs nobody's concern.

    Raises:
        ValueError: no runs or questions, other shapes, fewer than one output token, or fewer than 0 draws.
    """
    if correct_KQ.ndim != 2 or correct_KQ.size == 0:
        raise ValueError(f"correct_KQ must have runs and questions, at least one of each, got {correct_KQ.shape}")
    if output_tokens_KQ.shape != correct_KQ.shape or prompt_tokens_Q.shape != correct_KQ.shape[1:]:
        raise ValueError(
            f"verdicts of shape {correct_KQ.shape} need as many output lengths, and a prompt length a question, got "
            f"{output_tokens_KQ.shape} and {prompt_tokens_Q.shape}"
        )
    _check_draws(draws)
    runs, questions = correct_KQ.shape
    prompt_tokens_KQ = np.broadcast_to(prompt_tokens_Q, correct_KQ.shape)
    flops_KQ, second_flops_KQ = _pass_flops(shape, prompt_tokens_KQ, output_tokens_KQ)
    columns = np.stack([correct_KQ, prompt_tokens_KQ, output_tokens_KQ, flops_KQ, second_flops_KQ]).astype(np.float64)
    question_rng, run_rng, luck_rng = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3))
    means = [columns.mean(axis=(1, 2))]
    for _ in range(draws):
        times_Q = np.bincount(question_rng.integers(questions, size=questions), minlength=questions)
        means.append(np.einsum("ckq,k,q->c", columns, _run_weights(runs, run_rng), times_Q) / (runs * questions))
    drawn = np.clip(means, columns.min(axis=(1, 2)), columns.max(axis=(1, 2)))
    accuracy_D, prompt_D, output_D, flops_D, second_flops_D = drawn.T
    if accuracy_D[0] in (0.0, 1.0):
        right = round(float(accuracy_D[0]) * questions)
        measured = Figure(value=float(accuracy_D[0]), ci95=wilson(right, questions))
        accuracy_D = _split_normal(measured, luck_rng, draws)
    return Answering(
        accuracy_D=np.clip(accuracy_D, 0.0, 1.0),
        prompt_tokens_D=prompt_D,
        output_tokens_D=output_D,
        flops_D=flops_D,
        second_flops_D=second_flops_D,
    )


def _run_weights(runs: int, rng: np.random.Generator) -> Floats:
    """Weights (K,) of runs in one draw, of mean 1: how often each was redrawn, or, of few, such that the weighted mean
    of any values is their mean plus t times its standard error."""
    if runs >= ENOUGH_SEEDS:
        return np.bincount(rng.integers(runs, size=runs), minlength=runs).astype(np.float64)
    if runs == 1:
        return np.ones(1)
    z_K = rng.standard_normal(runs)
    scale = math.sqrt(rng.chisquare(runs - 1) / (runs - 1))
    return 1 + math.sqrt(runs / (runs - 1)) * (z_K - z_K.mean()) / scale


def answering_from_figures(
    shape: ModelShape | None,
    *,
    accuracy: Figure,
    output_tokens: Figure,
    prompt_tokens: float,
    seed: int,
    draws: int = 2000,
) -> Answering:
    """Draws from stated intervals, accuracy and length apart: a normal on either side of the value, as wide as the
    interval is there, so that the value is the median and the bounds are the 2.5% and 97.5% quantiles.

    Where either interval is missing there are no draws, and so no interval of anything computed from them. Give every
    student a seed of its own: students of the same seed are lucky together. FLOPs are those of the mean lengths, a
    little less than the mean over lengths that vary.

    Raises:
        ValueError: a value is missing or outside its interval, or accuracies leave [0, 1].
    """
    _check_draws(draws)
    drawn = draws if accuracy.ci95 is not None and output_tokens.ci95 is not None else 0
    accuracy_rng, length_rng = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    if accuracy.value is not None and not 0 <= accuracy.value <= 1:
        raise ValueError(f"accuracies must lie in [0, 1], got {accuracy.value}")
    accuracy_D = np.clip(_split_normal(accuracy, accuracy_rng, drawn), 0.0, 1.0)
    output_D = np.maximum(_split_normal(output_tokens, length_rng, drawn), 1.0)
    prompt_D = np.full(drawn + 1, float(prompt_tokens))
    flops_D, second_flops_D = _pass_flops(shape, np.rint(prompt_D), np.rint(output_D))
    return Answering(
        accuracy_D=accuracy_D,
        prompt_tokens_D=prompt_D,
        output_tokens_D=output_D,
        flops_D=flops_D,
        second_flops_D=second_flops_D,
    )


def _split_normal(stated: Figure, rng: np.random.Generator, draws: int) -> Floats:
    """The value, and `draws` draws around it."""
    if stated.value is None:
        raise ValueError("an accuracy or a length needs a value to draw around, got none")
    low, high = stated.ci95 if stated.ci95 is not None else (stated.value, stated.value)
    if not (low <= stated.value <= high and math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"a value must lie in its interval, and that be finite, got {stated.value} in [{low}, {high}]")
    z = rng.standard_normal(draws) / NORMAL_975
    drawn = stated.value + np.where(z < 0, z * (stated.value - low), z * (high - stated.value))
    return np.concatenate([[stated.value], drawn])


def _pass_flops(shape: ModelShape | None, prompt_tokens: Ints | Floats, output_tokens: Ints | Floats) -> list[Floats]:
    """FLOPs of a first and of a second pass, entry by entry."""
    if (output_tokens < 1).any():
        raise ValueError("an answer has at least one token, its end, and some have none")
    if shape is None:
        return [np.zeros(prompt_tokens.shape), np.zeros(prompt_tokens.shape)]
    pairs = np.stack([prompt_tokens, output_tokens], axis=-1).reshape(-1, 2).astype(np.int64)
    distinct, where = np.unique(pairs, axis=0, return_inverse=True)
    priced = [
        (
            generate_flops(shape, rows=1, prompt_length=prompt, new_tokens=written),
            generate_flops(shape, rows=1, prompt_length=prompt + written, new_tokens=written),
        )
        for prompt, written in distinct.tolist()
    ]
    flops = np.array(priced, dtype=np.float64)[where.ravel()]
    return [flops[:, 0].reshape(prompt_tokens.shape), flops[:, 1].reshape(prompt_tokens.shape)]


def _check_draws(draws: int) -> None:
    if draws < 0:
        raise ValueError(f"draws must be 0 (no intervals) or more, got {draws}")
