"""What of a model a stage trains, and how: the noun that decides what a backward pass computes. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """Low-rank adapters (LoRA) beside linear layers of the blocks, not merged into them: base(x) + B(A(x)).

    Every block has them, whichever of them a stage trains.

    Example: on all linear layers.
        Adapters(rank=16)
    """

    rank: int
    layers: tuple[str, ...] | None = None  # names of the linear layers, as the model calls them; None: all of a block

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"an adapter has a rank of at least 1, got rank={self.rank}")

    def beside(self, name: str) -> bool:
        """Whether the linear layer of that name has an adapter."""
        return self.layers is None or name in self.layers


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Which parts are trained; by default all of them, nothing recomputed.

    Example: adapters alone, with gradient checkpointing; and the two upper blocks of four with the head.
        Tuning(adapters=Adapters(rank=16), embeddings=False, head=False, recompute=True)
        Tuning(embeddings=False, blocks=(2, 3))
    """

    embeddings: bool = True
    blocks: tuple[int, ...] | None = None  # counted from 0 at the bottom; None: all
    head: bool = True  # the output head, and the norm before it
    adapters: Adapters | None = None  # if given, of a trained block they alone are trained
    recompute: bool = False  # every block's activations are computed again in the backward pass
    marked_input: bool = True
    """With `recompute`: the embeddings' output is marked as needing a gradient, frozen or not, so that every frozen
    block below the trained ones is computed backwards too. So does transformers' `activation_checkpointing_enable()`;
    `disable_input_require_grads()` after it takes the mark off, and nothing needs it (`use_reentrant` is off)."""

    def __post_init__(self) -> None:
        if self.adapters is not None and (self.embeddings or self.head):
            raise ValueError(
                "adapters are trained with everything else frozen: say embeddings=False and head=False beside them"
            )
        if not (self.embeddings or self.head or self.blocks is None or self.blocks):
            raise ValueError("nothing is trained: no embeddings, no head and no block")

    def trains_block(self, block: int) -> bool:
        """Whether the block of that number is trained (its adapters, if there are any)."""
        return self.blocks is None or block in self.blocks


EVERYTHING = Tuning()


def adapter_tuning(*, rank: int, layers: tuple[str, ...] | None = None, recompute: bool = False) -> Tuning:
    """All adapters trained and nothing else: LoRA as it is commonly run."""
    return Tuning(adapters=Adapters(rank=rank, layers=layers), embeddings=False, head=False, recompute=recompute)
