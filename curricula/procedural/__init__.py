"""Procedural corpora: made from a seed, so that everything runs with no download."""

from curricula.procedural.generate import FAMILIES, generate
from curricula.procedural.problem import LEVELS, Family, Problem

__all__ = ["FAMILIES", "LEVELS", "Family", "Problem", "generate"]
