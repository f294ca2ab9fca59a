"""The matrix products of a pass, forward and backward, in multiply-adds: one rule for each product. No torch in here.

docs/flops.md derives the rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainers.pricing.linear_layers import MLP_ROLES, LinearLayer, ModelShape, Role
from trainers.pricing.tuning import EVERYTHING, FROM_THE_HEAD, Adapters, GradientPaths, Tuning

Amount = TypeVar("Amount", int, NDArray[np.int64])
"""One amount, or one for every example of a table."""

BACKWARD_OVER_FORWARD = 2


@dataclass(frozen=True, kw_only=True)
class Products:
    """Multiply-adds of a pass, by what they grow with; the FLOPs are twice as many."""

    position: int  # for every position
    pair: int  # for every pair of positions of a row
    head_position: int  # for every position at which the head is computed

    def flops(self, *, positions: Amount, pairs: Amount, head_positions: Amount | int) -> Amount:
        """FLOPs over so many positions, which attend in so many pairs, the head at `head_positions` of them."""
        return 2 * positions * self.position + 2 * pairs * self.pair + 2 * head_positions * self.head_position


def forward_products(shape: ModelShape, adapters: Adapters | None = None, *, narrowed: bool = False) -> Products:
    """Of one forward pass: every weight once a position; scores and weighted values once a pair.

    Args:
        narrowed: whether the last block's MLP is computed only where the head is (trainers/last_mlp.py).

    Raises:
        ValueError: adapters are asked for and the shape's linear layers are not known, or do not have that name.
    """
    beside = 0
    if adapters is not None:
        _check_block(shape, adapters)
        beside = shape.layers * sum(_adapter_weights(layer, adapters) for layer in shape.block)
    few = sum(layer.weights + _adapter_weights(layer, adapters) for layer in shape.mlp) if narrowed else 0
    return Products(
        position=shape.block_weights + beside - few,
        pair=2 * shape.layers * shape.attention_width,
        head_position=shape.head_weights + few,
    )


@lru_cache(maxsize=64)
def training_products(
    shape: ModelShape,
    tuning: Tuning = EVERYTHING,
    paths: GradientPaths = FROM_THE_HEAD,
    *,
    narrowed: bool = True,
) -> Products:
    """Of one forward and one backward pass, product by product; `narrowed` as for `forward_products`.

    Blocks that no gradient reaches are computed forward only, and are not recomputed.

    A linear layer y = W x computes the gradient of x if anything below it is trained, and that of W if W is; so does
    an adapter's A and B. The scores compute the gradient of queries and of keys, the weighted values that of the
    attention weights and of the values, each if it depends on anything trained. Recomputation runs a block's forward
    pass again, up to the last tensor that its backward pass needs: the last product itself only if a norm follows it.

    Raises:
        ValueError: the tuning does not fit the shape, or the shape is known by its sums alone and not all is trained.
    """
    forward = forward_products(shape, tuning.adapters, narrowed=narrowed)
    if tuning == EVERYTHING and paths == FROM_THE_HEAD:
        times = 1 + BACKWARD_OVER_FORWARD
        return Products(
            position=times * forward.position, pair=times * forward.pair, head_position=times * forward.head_position
        )
    _check_block(shape, tuning.adapters)
    _check_tuning(shape, tuning)
    sums = {"position": forward.position, "pair": forward.pair, "head_position": forward.head_position}
    depends = tuning.embeddings or (tuning.recompute and tuning.marked_input)
    for number in range(shape.layers):
        depends = depends and number != paths.detached_block
        few = MLP_ROLES if narrowed and number == shape.layers - 1 else frozenset[Role]()
        done = list(_block_backward(shape, tuning, trained=tuning.trains_block(number), depends=depends, few=few))
        if paths.reach(number):
            for each in done:
                sums[each.per] += each.backward
            for each in _recomputed(done, whole=shape.norm_after) if tuning.recompute else ():
                sums[each.per] += each.forward
        depends = depends or any(each.depends for each in done)
    if paths.head and (depends or (tuning.head and shape.norm_before_head)):
        sums["head_position"] += shape.head_weights
    if paths.head and tuning.head:
        sums["head_position"] += shape.head_weights
    return Products(position=sums["position"], pair=sums["pair"], head_position=sums["head_position"])


@dataclass(frozen=True, kw_only=True)
class _Done:
    """One product of a block: multiply-adds for each of what it grows with, in the order of the forward pass."""

    per: Literal["position", "pair", "head_position"]
    forward: int
    last: int  # of `forward`, what nothing in the backward pass needs: an output that is only added
    backward: int
    depends: bool  # whether the output depends on anything trained


def _block_backward(
    shape: ModelShape, tuning: Tuning, *, trained: bool, depends: bool, few: frozenset[Role]
) -> Iterator[_Done]:
    """The products of one block.

    Args:
        depends: whether the block's input depends on anything trained.
        few: what is computed only where the head is.
    """
    adapters = tuning.adapters
    weights_trained = trained and adapters is None
    read = depends or (weights_trained and shape.norm_before)  # by attention
    query = key = value = attention_done = False
    written = inner = False  # the output of attention; the inside of the MLP
    for layer in shape.block:
        if layer.role in ("attended", "mlp_in") and not attention_done:
            attention_done = True
            scores = query or key
            half = shape.attention_width
            yield _Done(per="pair", forward=half, last=half, backward=half * (query + key), depends=scores)
            back = half * (scores + value)
            yield _Done(per="pair", forward=half, last=half, backward=back, depends=scores or value)
        if layer.role == "attended":
            source = query or key or value
        elif layer.role == "mlp_in":
            source = read if shape.parallel_mlp else depends or written or weights_trained
        else:
            source = inner if layer.role == "mlp_out" else read
        done = _linear_backward(layer, adapters, trained=trained, source=source)
        yield dataclasses.replace(done, per="head_position") if layer.role in few else done
        whole = layer.role == "query_key_value"
        query = query or (done.depends and (whole or layer.role == "query"))
        key = key or (done.depends and (whole or layer.role == "key"))
        value = value or (done.depends and (whole or layer.role == "value"))
        written = written or (done.depends and layer.role == "attended")
        inner = inner or (done.depends and layer.role == "mlp_in")


def _linear_backward(layer: LinearLayer, adapters: Adapters | None, *, trained: bool, source: bool) -> _Done:
    """A linear layer with its adapter, if it has one; `source`: its input depends on anything trained."""
    weights = layer.weights
    if adapters is None:
        back = weights * (source + trained)
        return _Done(per="position", forward=weights, last=weights, backward=back, depends=source or trained)
    back = weights * source
    if not adapters.beside(layer.name):
        return _Done(per="position", forward=weights, last=weights, backward=back, depends=source)
    down, up = adapters.rank * layer.inputs, adapters.rank * layer.outputs
    back += down * (source + trained) + up * ((source or trained) + trained)
    return _Done(per="position", forward=weights + down + up, last=up, backward=back, depends=source or trained)


def _recomputed(done: list[_Done], *, whole: bool) -> list[_Done]:
    """What is computed again: up to the last product that depends on training, of which `last` is not, if not whole."""
    needed = [place for place, each in enumerate(done) if each.depends]
    if not needed:
        return []
    *again, end = done[: needed[-1] + 1]
    return [*again, end if whole else dataclasses.replace(end, forward=end.forward - end.last)]


def _adapter_weights(layer: LinearLayer, adapters: Adapters | None) -> int:
    if adapters is None or not adapters.beside(layer.name):
        return 0
    return adapters.rank * (layer.inputs + layer.outputs)


def _check_block(shape: ModelShape, adapters: Adapters | None) -> None:
    if not shape.block:
        raise ValueError(
            "of this architecture only the sums are known: it can be priced with everything trained and nothing "
            "recomputed; frozen parts, adapters and gradient checkpointing need one of the architectures in "
            "trainers/pricing/architectures.py"
        )
    names = [layer.name for layer in shape.block]
    for name in () if adapters is None or adapters.layers is None else adapters.layers:
        if name not in names:
            raise ValueError(f"a block has no linear layer {name!r}; it has {', '.join(names)}")


def _check_tuning(shape: ModelShape, tuning: Tuning) -> None:
    for block in tuning.blocks or ():
        if not 0 <= block < shape.layers:
            raise ValueError(f"there is no block {block}: the model has blocks 0 to {shape.layers - 1}")
    if shape.tied and tuning.embeddings != tuning.head:
        raise ValueError("the head of this model is its embeddings: train both or neither")
