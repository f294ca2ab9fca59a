r"""Whether two mathematical answers mean the same: math-verify's comparison, asked only what it answers soundly.

    text --notation--> tokens --expressions--> brackets, items, relations --here, value by value--> same?

Math-verify alone counts (1, 2) and {1, 2} as one, drops units and percent signs, reads 2(3) as a mixed number, merges r
with R, rounds to six decimals, and takes `2x = 6` for 6. So brackets, lists, relations and units are compared here; it
is asked about single values; and its yes counts only where both values agree to 20 digits at several points too.

Only the process of evaluators.mathematics.checker imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import verify
from sympy.core.function import AppliedUndef

from evaluators.mathematics.expressions import Form, Judgement, Tokens, bare_logarithm, is_name, latex, read, sides
from evaluators.mathematics.notation import is_number

MAX_ITEMS = 12
DIGITS = 30
_TOLERANCE = sympy.Rational(1, 10**20)  # relative
_TINY = sympy.Rational(1, 10**25)  # below it a value may be what rounding left of zero
_POINTS, _NEEDED_POINTS = 5, 3
_CONVERSION = ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False)
_MIRRORED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_STRICT = {"<": True, ">": True, "\\le": False, "\\ge": False}
_LISTS = frozenset(("", "\\{\\}"))  # brackets in which the order does not matter, or may not
_INTERVALS = frozenset(("()", "(]", "[)", "[]"))

Point = list[tuple[sympy.Basic, sympy.Basic]]  # variables and their values
Part = TypeVar("Part")


def compare(answer: str, given: str) -> Judgement:
    """Whether `given` means what `answer` means. Sympy and the parser may raise anything on what they cannot handle."""
    wanted, found = read(answer), read(given)
    if wanted is None or found is None:
        return "undecided"
    if wanted == found:
        return "same"
    if bare_logarithm(wanted) != bare_logarithm(found):  # of base 10 or e
        return "undecided"
    if len(wanted) > 1 or len(found) > 1:
        if len(wanted) != len(found) or len(wanted) > MAX_ITEMS:
            return "undecided"
        return "same" if _permuted(_table(wanted, found, _with_units)) else "undecided"
    return _with_units(wanted[0], found[0])


def _with_units(wanted: Form, found: Form) -> Judgement:
    """Compare single forms; a unit that only one of them carries is passed over, as it is behind numbers."""
    if wanted.unit and found.unit and wanted.unit != found.unit:
        return "undecided"  # 5 km and 5000 m, cm and centimeters
    judged = _forms(wanted, found)
    if judged == "same" or wanted.unit == found.unit:
        return judged
    if "%" in (wanted.unit, found.unit):
        return _forms(_out_of_100(wanted), _out_of_100(found))
    units = wanted.unit + found.unit
    bare = found if wanted.unit else wanted
    # 90 degrees are pi/2, and the m behind another number may be metres.
    return "undecided" if "\N{DEGREE SIGN}" in units or bare.items[-1][-1].isalpha() else judged


def _out_of_100(form: Form) -> Form:
    """A form in percent as one without a unit."""
    if form.unit != "%":
        return form
    items = tuple(("\\frac", "{", *item, "}", "{", "100", "}") for item in form.items)
    return replace(form, items=items, unit="")


def _forms(wanted: Form, found: Form) -> Judgement:
    """Compare brackets and items; a bare list in another order is undecided, since its order may matter."""
    if max(len(wanted.items), len(found.items)) > MAX_ITEMS:
        return "undecided"
    wanted, found = _as_interval(wanted, found), _as_interval(found, wanted)
    table = _table(wanted.items, found.items, _items)
    brackets = {wanted.opening + wanted.closing, found.opening + found.closing}
    if len(wanted.items) != len(found.items):
        decimal_comma = any(
            not form.opening
            and len(form.items) == 2
            and all(len(item) == 1 and is_number(item[0]) for item in form.items)
            for form in (wanted, found)
        )
        return "different" if _unmatched(table) and not decimal_comma else "undecided"
    in_order: list[Judgement] = [row[place] for place, row in enumerate(table)]
    if len(in_order) == 1 and brackets <= _LISTS:
        return in_order[0]
    if len(brackets) == 1 and not brackets <= _LISTS:
        return _all(in_order)
    if brackets <= _LISTS:
        if set(in_order) == {"same"} or ("\\{\\}" in brackets and _permuted(table)):
            return "same"
        return "different" if _unmatched(table) else "undecided"
    if brackets <= _INTERVALS and brackets & {"(]", "[)"}:
        return "different"
    return "different" if "different" in in_order else "undecided"


def _as_interval(form: Form, other: Form) -> Form:
    """An inequality of one variable as the interval it stands for, where the other answer is one."""
    if form.opening or len(form.items) != 1 or other.opening + other.closing not in _INTERVALS:
        return form
    parts, relations = sides(form.items[0])
    if relations and relations[0] in (">", "\\ge"):
        parts, relations = parts[::-1], tuple(_MIRRORED.get(relation, "=") for relation in relations[::-1])
    if not relations or not set(relations) <= {"<", "\\le"}:
        return form
    brackets = {"<": "()", "\\le": "[]"}
    if len(parts) == 3 and is_name(parts[1]):
        opening, closing = brackets[relations[0]][0], brackets[relations[1]][1]
        return replace(form, opening=opening, closing=closing, items=(parts[0], parts[2]))
    if len(parts) == 2 and is_name(parts[0]):
        return replace(form, opening="(", closing=brackets[relations[0]][1], items=(("-", "\\infty"), parts[1]))
    if len(parts) == 2 and is_name(parts[1]):
        return replace(form, opening=brackets[relations[0]][0], closing=")", items=(parts[0], ("\\infty",)))
    return form


def _items(wanted: Tokens, found: Tokens) -> Judgement:
    """Compare single items, which may be equations or inequalities."""
    (wanted_sides, wanted_relations), (found_sides, found_relations) = sides(wanted), sides(found)
    kinds = {*wanted_relations, *found_relations}
    if not all((*wanted_sides, *found_sides)):
        return "undecided"
    if not kinds:
        return _values(wanted, found)
    if kinds == {"="}:
        return _equations(wanted_sides, found_sides)
    if "=" in kinds or not wanted_relations or not found_relations:
        return "undecided"
    if wanted_relations[0] != found_relations[0]:
        found_sides, found_relations = found_sides[::-1], tuple(_MIRRORED[sign] for sign in found_relations[::-1])
    in_order = [_values(one, other) for one, other in zip(wanted_sides, found_sides, strict=False)]
    if wanted_relations == found_relations and set(in_order) == {"same"}:
        return "same"
    if len(wanted_sides) == len(found_sides) == 2 and _STRICT[wanted_relations[0]] == _STRICT[found_relations[0]]:
        ratio = _ratio(wanted_sides, found_sides)
        signed = -1 if wanted_relations != found_relations else 1
        return "same" if ratio is not None and bool((ratio * signed).is_positive) else "undecided"
    return "undecided"


def _equations(wanted: list[Tokens], found: list[Tokens]) -> Judgement:
    """Compare where at least one is an equation: x = 5 and 5, y = 2x and 2x, 2x + y = 1 and 4x + 2y = 2."""
    if len(wanted) == 1 or len(found) == 1 or (is_name(wanted[0]) and wanted[0] == found[0]):
        ends = [_end(chain) for chain in (wanted, found)]
        return _values(ends[0], ends[1]) if ends[0] and ends[1] else "undecided"
    ratio = _ratio(wanted, found) if len(wanted) == len(found) == 2 else None
    return "same" if ratio is not None else "undecided"


def _end(chain: list[Tokens]) -> Tokens:
    """What a chain of equations comes to, () where it does not hold: 5 for 5, x = 5 and x = 2 + 3 = 5, not 2x = 5."""
    start = 1 if len(chain) > 1 and is_name(chain[0]) else 0
    return chain[-1] if all(_values(side, chain[-1]) == "same" for side in chain[start:-1]) else ()


def _ratio(wanted: list[Tokens], found: list[Tokens]) -> sympy.Expr | None:
    """The constant that both (left - right) differ by; None where there is none, or it is not sure."""
    values = [value for tokens in (*wanted, *found) if isinstance(value := _parsed(tokens), sympy.Expr)]
    if len(values) != 4:
        return None
    one, other = values[0] - values[1], values[2] - values[3]
    point = _points(one, other)[0]
    scale, other_scale = _at(one, point), _at(other, point)
    if not (scale.is_nonzero and other_scale.is_nonzero):
        return None
    return scale / other_scale if _judged(one * other_scale, other * scale) == "same" else None


def _values(wanted: Tokens, found: Tokens) -> Judgement:
    if wanted == found:
        return "same"
    one, other = _parsed(wanted), _parsed(found)
    if isinstance(one, sympy.MatrixBase) and isinstance(other, sympy.MatrixBase):
        if one.shape != other.shape:
            return "different"
        return _all([_judged(first, second) for first, second in zip(one.flat(), other.flat(), strict=True)])
    if isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr):
        return _judged(one, other)
    return "undecided"


@lru_cache(maxsize=64)
def _parsed(tokens: Tokens) -> sympy.Expr | sympy.MatrixBase | None:
    """A value, its decimals exact; None where the tokens stand for anything else, such as a function nobody defined."""
    value = latex2sympy(
        latex(tokens),
        is_real="i" not in tokens,
        convert_degrees=False,
        normalization_config=None,
        conversion_config=_CONVERSION,
    )
    if not isinstance(value, sympy.Expr | sympy.MatrixBase) or value.atoms(AppliedUndef):
        return None
    exact = {number: sympy.Rational(str(number)) for number in value.atoms(sympy.Float)}
    imaginary = {symbol: sympy.I for symbol in value.free_symbols if str(symbol) == "i"}
    names = [str(symbol) for symbol in value.free_symbols]
    if any(len(name) > 1 and "_" not in name and f"\\{name}" not in tokens for name in names):
        return None  # letters taken for one name, such as dx
    replaced = value.xreplace({**exact, **imaginary})
    assert isinstance(replaced, sympy.Expr | sympy.MatrixBase)
    return replaced


def _judged(one: sympy.Expr, other: sympy.Expr) -> Judgement:
    """Compare two values; where math-verify and the numbers contradict each other, nothing is decided."""
    names, other_names = ({str(symbol) for symbol in value.free_symbols} for value in (one, other))
    if names != other_names and {name.casefold() for name in names} == {name.casefold() for name in other_names}:
        return "undecided"
    agree = _agree(one, other)
    if agree is None:
        return "undecided"
    proven = any(
        verify([first], [second], timeout_seconds=None, raise_on_error=True)
        for first, second in ((one, other), (one - other, sympy.Integer(0)))
    )
    if proven != agree:
        return "undecided"
    return "same" if agree else "different"


def _agree(one: sympy.Expr, other: sympy.Expr) -> bool | None:
    """Whether two values are equal at several points, exactly or to 20 digits; None where too few have a value."""
    exact = one.doit(), other.doit()
    if all(isinstance(value, sympy.Rational) or value in (sympy.oo, -sympy.oo) for value in exact):
        return exact[0] == exact[1]
    votes = 0
    points = _points(one, other)
    for point in points:
        first, second = (_at(value, point).evalf(DIGITS, maxn=200) for value in exact)
        if not (first.is_number and second.is_number):
            return None
        if not (first.is_finite and second.is_finite):
            continue
        size = max(abs(first), abs(second))
        if abs(first - second) > max(_TOLERANCE * size, _TINY):
            return False
        votes += bool(size > _TINY or first == second)
    return True if votes >= min(_NEEDED_POINTS, len(points)) else None


def _at(value: sympy.Basic, point: Point) -> sympy.Expr:
    found = value.subs(point).doit()
    assert isinstance(found, sympy.Expr)
    return found


def _points(*values: sympy.Expr) -> list[Point]:
    """Points at which to compare, of both signs; one without coordinates where there are no variables."""
    symbols = sorted({symbol for value in values for symbol in value.free_symbols}, key=str)
    if not symbols:
        return [[]]
    return [
        [
            (symbol, sympy.Rational((13 + 7 * place + 5 * point) * (-1 if (point + place) % 3 == 2 else 1), 11 + point))
            for place, symbol in enumerate(symbols)
        ]
        for point in range(_POINTS)
    ]


def _all(judged: Sequence[Judgement]) -> Judgement:
    if "different" in judged:
        return "different"
    return "undecided" if "undecided" in judged else "same"


def _table(
    wanted: Sequence[Part], found: Sequence[Part], judge: Callable[[Part, Part], Judgement]
) -> list[list[Judgement]]:
    return [[judge(one, other) for other in found] for one in wanted]


def _unmatched(table: list[list[Judgement]]) -> bool:
    """Whether one item is different from every item of the other list."""
    lines = [*table, *(list(column) for column in zip(*table, strict=True))]
    return any(set(line) == {"different"} for line in lines)


def _permuted(table: list[list[Judgement]]) -> bool:
    """Whether the items can be paired so that both of every pair are the same; equality being transitive, greedily."""
    free = set(range(len(table)))
    for row in table:
        match = next((place for place in sorted(free) if row[place] == "same"), None)
        if match is None:
            return False
        free.remove(match)
    return True
