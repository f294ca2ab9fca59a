"""What of an architecture decides its FLOPs: its linear layers, and how one feeds the next. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["query", "key", "value", "query_key_value", "attended", "mlp_in", "mlp_out"]
"""What a linear layer does in its block; `attended` takes what the heads attended to."""

MLP_ROLES: frozenset[Role] = frozenset({"mlp_in", "mlp_out"})


@dataclass(frozen=True, kw_only=True)
class LinearLayer:
    """One weight matrix of a block.

    Example:
        LinearLayer(name="up_proj", inputs=128, outputs=352, role="mlp_in")
    """

    name: str  # as the model calls it, for adapters
    inputs: int
    outputs: int
    role: Role

    @property
    def weights(self) -> int:
        """Weights, the bias not counted: adding it is no product."""
        return self.inputs * self.outputs


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What of an architecture decides its FLOPs.

    The first five fields price forward passes, generation and training of everything; those after them are needed
    where parts are frozen, adapted or recomputed, and `block` is empty where only the sums are known.

    Example: three blocks, 128 wide, 4 heads of 32, a gated MLP of 352 and 260 tokens.
        ModelShape(layers=3, block_weights=3 * (4 * 128 * 128 + 3 * 128 * 352), attention_width=128,
                   head_weights=260 * 128, parameters=635_000)
    """

    layers: int
    block_weights: int  # weights of all linear layers of all blocks
    attention_width: int  # heads x head dimension, of the queries
    head_weights: int  # vocabulary x hidden size, tied or not
    parameters: int  # all of them, for people and for disk
    block: tuple[LinearLayer, ...] = ()  # the linear layers of one block, in the order in which they are computed
    tied: bool = False  # the head's weights are the embeddings'
    parallel_mlp: bool = False  # the MLP reads what attention reads, not what it wrote
    norm_before: bool = True  # what attention reads comes from a norm with weights of its own
    norm_after: bool = False  # a norm stands behind the last linear layer of a block
    norm_before_head: bool = True  # the head reads from a norm with weights of its own
    window: int = 0  # positions that a windowed layer keeps in its cache
    windowed_layers: int = 0

    def __post_init__(self) -> None:
        weights = self.layers * sum(layer.weights for layer in self.block)
        if self.block and weights != self.block_weights:
            raise ValueError(f"the blocks have {self.block_weights} weights, but their linear layers {weights}")

    @property
    def mlp(self) -> tuple[LinearLayer, ...]:
        """The layers of one block's MLP."""
        return tuple(layer for layer in self.block if layer.role in MLP_ROLES)
