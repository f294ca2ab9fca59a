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


@dataclass(frozen=True, kw_only=True)
class GradientPaths:
    """Where gradients enter a model, and where they end. By default from the head, down to all that is trained.

    Example: the two lower blocks of four learn from the second one's output alone, those above them from the head.
        GradientPaths(aligned=(2,), detached_block=2)
    """

    head: bool = True  # a loss on logits; without one the head is computed forward only
    aligned: tuple[int, ...] = ()  # blocks, counted from 1 at the bottom, with a loss on their outputs
    detached_block: int | None = None  # counted from 0: reads its input without a gradient

    def reach(self, block: int) -> bool:
        """Whether a gradient comes to the output of a block, counted from 0."""
        cut = self.detached_block
        if cut is None or block >= cut:
            return self.head or any(block < top for top in self.aligned)
        return any(block < top <= cut for top in self.aligned)


FROM_THE_HEAD = GradientPaths()


def adapter_tuning(*, rank: int, layers: tuple[str, ...] | None = None, recompute: bool = False) -> Tuning:
    """All adapters trained and nothing else: LoRA as it is commonly run."""
    return Tuning(adapters=Adapters(rank=rank, layers=layers), embeddings=False, head=False, recompute=recompute)
