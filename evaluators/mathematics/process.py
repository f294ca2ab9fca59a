"""The process that compares answers: evaluators.guarded asks it pairs of them, (answer, given).

The parser and sympy raise whatever they like; the comparison is then undecided.
"""

from __future__ import annotations

from evaluators.guarded import serve
from evaluators.mathematics.equality import compare

if __name__ == "__main__":
    serve(lambda: compare)
