"""How long a sequence a model takes, by its config."""

from __future__ import annotations

from transformers import PreTrainedConfig

_NAME = "max_position_embeddings"


def stated_positions(config: PreTrainedConfig) -> int | None:
    """The longest sequence that a model was made for, in tokens; None where its config states none."""
    text = config.get_text_config()
    stated = text.to_dict().get(text.attribute_map.get(_NAME, _NAME))  # GPT-2 calls it n_positions
    return int(stated) if stated else None


def most_positions(config: PreTrainedConfig) -> int | None:
    """The longest sequence that a model can compute at all, in tokens; None where it turns angles, at any position.

    A model that looks its positions up has no more of them than its table.
    """
    turns = config.get_text_config().to_dict().get("rope_parameters")
    return None if turns else stated_positions(config)
