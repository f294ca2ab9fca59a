r"""Mathematical notation as tokens: one spelling of each thing, and nothing that could be read in two ways.

Only known commands are let through, since a parser of LaTeX passes over what it does not know and then compares the
remains. Refused too: `1/2x`, `1010_2`, `3:45`, `x2`, `\sin 30^\circ`, `n!!`, prose.
"""

from __future__ import annotations

import re

MAX_TOKENS = 400
MAX_DEPTH = 30

_SPELLINGS = (
    ("\N{MINUS SIGN}", "-"),
    ("\N{EN DASH}", "-"),
    ("\N{MULTIPLICATION SIGN}", "\\times "),
    ("\N{DIVISION SIGN}", "\\div "),
    ("\N{MIDDLE DOT}", "\\cdot "),
    ("\N{DOT OPERATOR}", "\\cdot "),
    ("\N{SQUARE ROOT}", "\\sqrt "),
    ("\N{GREEK SMALL LETTER PI}", "\\pi "),
    ("\N{INFINITY}", "\\infty "),
    ("\N{LESS-THAN OR EQUAL TO}", "\\le "),
    ("\N{GREATER-THAN OR EQUAL TO}", "\\ge "),
    ("\N{UNION}", "\\cup "),
    ("\N{ELEMENT OF}", "\\in "),
    ("\N{PLUS-MINUS SIGN}", "\\pm "),
    ("\N{DEGREE SIGN}", "^\\circ "),
    ("\N{SUPERSCRIPT TWO}", "^2"),
    ("\N{SUPERSCRIPT THREE}", "^3"),
    ("\N{VULGAR FRACTION ONE HALF}", "\\frac{1}{2}"),
    ("\N{VULGAR FRACTION ONE QUARTER}", "\\frac{1}{4}"),
    ("\N{VULGAR FRACTION THREE QUARTERS}", "\\frac{3}{4}"),
    ("<=", "\\le "),
    (">=", "\\ge "),
    ("**", "^"),
    ("*", "\\cdot "),
    ("^{\\circ}", "^\\circ "),
    ("{,}", ","),
    ("\\lbrace", "\\{"),
    ("\\rbrace", "\\}"),
    ("\\%", "%"),
    ("\\$", ""),
    ("$", ""),
)
_SYNONYMS = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\leq": "\\le",
    "\\leqslant": "\\le",
    "\\geq": "\\ge",
    "\\geqslant": "\\ge",
    "\\lt": "<",
    "\\gt": ">",
    "\\dbinom": "\\binom",
    "\\tbinom": "\\binom",
    "\\imath": "i",
}
_SPACING = frozenset(
    ("\\ ", *re.findall(r"\S+", r"\left \right \big \Big \bigl \bigr \displaystyle \quad \qquad \limits \, \; \: \! ~"))
)
FUNCTIONS = frozenset(
    re.findall(r"\S+", r"\sqrt \sin \cos \tan \cot \sec \csc \arcsin \arccos \arctan \ln \log \exp \frac \binom")
)
_SYMBOLS = frozenset(
    re.findall(
        r"\S+",
        r"\alpha \beta \gamma \delta \epsilon \zeta \eta \theta \kappa \lambda \mu \nu \xi \rho \sigma \tau "
        r"\phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega \pi",
    )
)
_OPERATORS = frozenset(re.findall(r"\S+", r"\cdot \times \div \pm \le \ge \cup \in \circ \infty \{ \} \\"))
_MATRICES = frozenset(f"\\{edge}{{{kind}matrix}}" for edge in ("begin", "end") for kind in ("", "p", "b"))
_KNOWN = FUNCTIONS | _SYMBOLS | _OPERATORS | _MATRICES
_WORDS = {"or": ",", "and": ",", "infinity": "\\infty"} | {
    name: f"\\{name}"
    for name in re.findall(
        r"\w+", "pi sqrt sin cos tan cot sec csc arcsin arccos arctan ln log exp theta alpha beta lambda"
    )
}
_NOT_PRODUCTS = frozenset(re.findall(r"\S+", r"am an as at be by do go he if in is it me my no of on so to up us we"))
_TOKEN = re.compile(
    r"\\(?:begin|end)\{[a-z]*\}|\\[A-Za-z]+|\\.|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|[A-Za-z]+|[-+/^_!=<>(){}\[\],;|%~&]|\S",
    re.DOTALL,
)
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")
_PLAIN_ROOT = re.compile(r"\N{SQUARE ROOT}\s*([0-9]+|[a-z])")
_LEADING_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")

OPENERS = frozenset(("(", "[", "{", "\\{", "\\begin{matrix}", "\\begin{pmatrix}", "\\begin{bmatrix}"))
CLOSERS = frozenset((")", "]", "}", "\\}", "\\end{matrix}", "\\end{pmatrix}", "\\end{bmatrix}"))


def plain(text: str) -> str:
    """The text with LaTeX for signs of Unicode, and without dollar signs and the thousands commas it begins with."""
    text = _PLAIN_ROOT.sub(r"\\sqrt{\1}", text)
    for written, spelling in _SPELLINGS:
        text = text.replace(written, spelling)
    text = text.strip().rstrip(". ")
    match = _LEADING_THOUSANDS.match(text)
    return text if match is None else match[0].replace(",", "") + text[match.end() :]


def tokenize(text: str) -> tuple[str, ...] | None:
    r"""The tokens of a text that `plain` returned; None where it cannot be read in one sure way.

    Braces stand wherever LaTeX may do without them, and mixed numbers are sums.

    Example:
        >>> tokenize("2x^2")
        ('2', 'x', '^', '{', '2', '}')
    """
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        token = _SYNONYMS.get(match[0], match[0])
        if token in _SPACING:
            continue
        letters = [token]
        if token[0].isalpha() and len(token) > 1:
            if token in _WORDS:
                letters = [_WORDS[token]]
            elif len(token) > 2 or token.casefold() in _NOT_PRODUCTS:
                return None
            else:
                letters = list(token)
        elif (token[0] == "\\" and token not in _KNOWN) or not token.isascii() or token in "\"'`:?@#":
            return None
        if is_number(token) and tokens and is_number(tokens[-1]) and tokens[-2:-1] not in (["_"], ["^"]):
            tokens.append(" ")  # two numbers, of which only a mixed number makes one
        tokens += letters
        if len(tokens) > MAX_TOKENS:
            return None
    tokens = _mixed(_braced(tokens)) if tokens and _balanced(tokens) else []
    return None if not tokens or _ambiguous(tokens) else tuple(tokens)


def is_number(token: str) -> bool:
    """Whether a token is a number without a sign."""
    return _NUMBER.fullmatch(token) is not None


def begins_operand(token: str) -> bool:
    """Whether a token may begin a factor, so that it is multiplied with what stands before it."""
    return token[:1].isalnum() or token in ("(", "\\infty") or token in FUNCTIONS or token in _SYMBOLS


def depths(tokens: tuple[str, ...] | list[str]) -> list[tuple[str, int]]:
    """Every token with the number of brackets open around it."""
    depth, found = 0, []
    for token in tokens:
        depth -= token in CLOSERS
        found.append((token, depth))
        depth += token in OPENERS
    return found


def closing(tokens: tuple[str, ...] | list[str], start: int) -> int | None:
    """Where the bracket that opens at `start` is closed, whatever bracket closes it; None where none opens."""
    if tokens[start] not in OPENERS:
        return None
    depth = 0
    for position in range(start, len(tokens)):
        depth += (tokens[position] in OPENERS) - (tokens[position] in CLOSERS)
        if depth == 0:
            return position
    return None


def _balanced(tokens: list[str]) -> bool:
    found = [depth for _, depth in depths(tokens)]
    opened, closed = (sum(token in kind for token in tokens) for kind in (OPENERS, CLOSERS))
    return min(found) >= 0 and max(found) <= MAX_DEPTH and opened == closed


def _braced(tokens: list[str]) -> list[str]:
    r"""Braces where LaTeX may do without: \frac12, \sqrt2, x^10 (as it is meant), sqrt(2), x^(2)."""
    written: list[str] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        written.append(token)
        position += 1
        if token == "\\frac" and re.fullmatch(r"\d\d", following):
            written += ["{", following[0], "}", "{", following[1], "}"]
            position += 1
        elif token in ("\\sqrt", "^") and following == "(":
            close = closing(tokens, position) or position
            written += ["{", *_braced(tokens[position + 1 : close]), "}"]
            position = close + 1
        elif token == "^" and following in ("-", "+") and position + 1 < len(tokens):
            written += ["{", following, tokens[position + 1], "}"]
            position += 2
        elif (token in ("^", "_") and (is_number(following) or following.isalpha())) or (
            token == "\\sqrt" and re.fullmatch(r"\d|[A-Za-z]|\\pi", following)
        ):
            written += ["{", following, "}"]
            position += 1
    return written


def _mixed(tokens: list[str]) -> list[str]:
    r"""Mixed numbers written out: `2\frac{1}{2}` and `2 1/2` are (2+\frac{1}{2})."""
    written: list[str] = []
    position = 0
    while position < len(tokens):
        latex = tokens[position : position + 8]
        slashed = tokens[position : position + 5]
        before = tokens[position - 1] if position else ""
        whole, over, under, length = "", "", "", 0
        if [latex[index] for index in range(1, len(latex)) if index not in (3, 6)] == ["\\frac", "{", "}", "{", "}"]:
            whole, over, under, length = latex[0], latex[3], latex[6], 8
        elif slashed[1:2] + slashed[3:4] == [" ", "/"] and len(slashed) == 5:
            whole, over, under, length = slashed[0], slashed[2], slashed[4], 5
        if (whole + over + under).isdecimal() and whole and over and under and before not in ("^", "_", "/", " "):
            written += ["(", whole, "+", "\\frac", "{", over, "}", "{", under, "}", ")"]
            position += length
        else:
            written.append(tokens[position])
            position += 1
    return written


def _ambiguous(tokens: list[str]) -> bool:
    """Whether the tokens may be read in two ways, or a part would be passed over in silence."""
    if " " in tokens or "%" in tokens or "\\circ" in tokens or tokens.count("|") > 2:
        return True
    for position, token in enumerate(tokens):
        before = tokens[position - 1] if position else ""
        after = tokens[position + 1] if position + 1 < len(tokens) else ""
        if (
            (token == "_" and not (before.isalpha() or before in _SYMBOLS or before == "\\log"))
            or (token == "!" and after == "!")
            or (token == "^" and before == "}" and _closes_power(tokens, position - 1))
            or (is_number(token) and len(before) == 1 and before.isalpha())
            or (token in ("\\frac", "\\binom", "^", "_") and after != "{")
            or (token == "\\sqrt" and after not in ("{", "["))
        ):
            return True
        end = _operand_end(tokens, position + 1) if token == "/" else len(tokens)
        if end < len(tokens) and begins_operand(tokens[end]):
            return True
    return False


def _closes_power(tokens: list[str], close: int) -> bool:
    """Whether the braces that close here are an exponent, whose own exponent may be meant for the whole."""
    depth = 0
    for position in range(close, -1, -1):
        depth += (tokens[position] in CLOSERS) - (tokens[position] in OPENERS)
        if depth == 0:
            return position > 0 and tokens[position - 1] == "^"
    return False


def _operand_end(tokens: list[str], start: int) -> int:
    """Where the operand that begins at `start` ends, with its powers and arguments in brackets."""
    end = start
    while end < len(tokens) and (tokens[end] in ("-", "+") or tokens[end] in FUNCTIONS):
        end += 1
    if end < len(tokens):
        close = closing(tokens, end)
        end = end + 1 if close is None else close + 1
    while end < len(tokens) and tokens[end] in ("^", "_", "{"):
        end += tokens[end] != "{"
        close = closing(tokens, end) if end < len(tokens) else None
        end = end + 1 if close is None else close + 1
    return end
