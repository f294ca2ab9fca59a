"""Fields of summary.json, each with its type; errors name the field."""

from __future__ import annotations

from collections.abc import Mapping


def mapping(value: object, where: str) -> dict[str, object]:
    """A JSON object.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"summary.{where} must be a mapping, got {value!r}")
    return {str(key): item for key, item in value.items()}


def number(value: object, where: str) -> float:
    """A JSON number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"summary.{where} must be a number, got {value!r}")
    return float(value)


def numbers(value: object, where: str) -> dict[str, float]:
    """A JSON object of numbers.

    Raises:
        ValueError: it is none.
    """
    return {key: number(item, f"{where}.{key}") for key, item in mapping(value, where).items()}


def interval(value: object, where: str) -> tuple[float, float]:
    """A JSON list of two numbers.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"summary.{where} must be a pair of numbers, got {value!r}")
    return number(value[0], where), number(value[1], where)
