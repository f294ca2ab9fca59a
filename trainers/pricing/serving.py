"""Memory that serving a student takes, from its shape. No torch in here."""

from __future__ import annotations

from trainers.pricing.linear_layers import ModelShape

FP32_BYTES = 4
"""Of a number: students are measured and exported in fp32."""


def serving_bytes(shape: ModelShape, *, tokens: float, number_bytes: int = FP32_BYTES) -> int | None:
    """Weights, and the key-value cache of one answer: all that memory holds between two tokens.

        (parameters + 2 t k) x bytes of a number        2: keys and values

    t counts the cached positions of all layers: `tokens` for each, of windowed ones at most the window. k is the width
    of a layer's keys, which is narrow where heads share them (GQA). Left out: activations of the running token, and
    what a serving program takes itself.

    Args:
        shape: of the student, adapters merged.
        tokens: of prompt and output together.

    Returns:
        Bytes; None where only the sums of an architecture are known, not the width of its keys.

    Raises:
        ValueError: tokens are negative.
    """
    if tokens < 0:
        raise ValueError(f"tokens must be 0 or more, got {tokens}")
    if not shape.block:
        return None
    key_width = sum(layer.outputs for layer in shape.block if layer.role == "key")
    for layer in shape.block:
        if layer.role == "query_key_value":
            key_width += (layer.outputs - shape.attention_width) // 2
    windowed = shape.windowed_layers
    positions = (shape.layers - windowed) * tokens + windowed * min(tokens, shape.window)
    return round((shape.parameters + 2 * positions * key_width) * number_bytes)
