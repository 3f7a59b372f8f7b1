"""OpenDSS text: statements, tokens, arrays and numbers, without their meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

_OPENING = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", flags=re.IGNORECASE)
_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[^\s=,()\[\]{}"'][^\s=,]*)\s*=\s*)?"""
    r"""(?P<value>\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|"[^"]*"|'[^']*'|[^\s,=()\[\]{}"'][^\s,=]*)\s*,?"""
)
_ELEMENT = re.compile(r"""\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|"[^"]*"|'[^']*'|[^\s,]+""")
_TWO: dict[str, Callable[[float, float], float]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "^": lambda x, y: x**y,
    "atan2": lambda x, y: math.degrees(math.atan2(x, y)),
}
_ONE: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "sqr": lambda x: x * x,
    "inv": lambda x: 1.0 / x,
    "ln": math.log,
    "log10": math.log10,
    "exp": math.exp,
    "sin": lambda x: math.sin(math.radians(x)),
    "cos": lambda x: math.cos(math.radians(x)),
    "tan": lambda x: math.tan(math.radians(x)),
    "asin": lambda x: math.degrees(math.asin(x)),
    "acos": lambda x: math.degrees(math.acos(x)),
    "atan": lambda x: math.degrees(math.atan(x)),
}


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of every line that is not empty, without comments."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        start = line.lstrip()
        if inside or start.startswith("/*"):
            inside = "*/" not in line
            continue
        code = _without_comment(start).strip()
        if code:
            yield number, code


def commented_out(text: str) -> list[tuple[str, str]]:
    """Class, in lower case, and name of every element that a comment hides."""
    found = re.findall(r"^\s*!\s*new\s+([a-z]+)\.(\S+)", text, flags=re.IGNORECASE | re.MULTILINE)
    return [(kind.lower(), name) for kind, name in found]


def _without_comment(line: str) -> str:
    if "!" not in line and "//" not in line:
        return line
    closing = ""
    for i, c in enumerate(line):
        if closing:
            closing = "" if c == closing else closing
        elif c in _OPENING:
            closing = _OPENING[c]
        elif c == "!" or line.startswith("//", i):
            return line[:i]
    return line


def tokens(text: str) -> list[tuple[str, str]]:
    """(name or "", value) of every parameter; quotes and brackets are taken off.

    Raises:
        ValueError: with the part of the text that cannot be read.
    """
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(text[at:].strip())
        value = match["value"]
        if value[0] in _OPENING:
            value = value[1:-1].strip()
        found.append(((match["name"] or "").lower(), value))
        at = match.end()
    return found


def array(text: str) -> list[str]:
    """Elements of ``a, b c``, each without quotes and brackets of its own."""
    return [x[1:-1].strip() if x[0] in _OPENING and len(x) > 1 else x for x in _ELEMENT.findall(text)]


LARGEST = 1e100
"""Of numbers, and its inverse the smallest, so that what is worked out of them stays finite."""


def number(text: str) -> float:
    """A number, or an expression in reverse Polish notation such as ``0.4 2 /``.

    Raises:
        ValueError: where it is neither, or has no finite value.
    """
    if _NUMBER.fullmatch(text.strip()):
        value = float(text)
    else:
        try:
            value = _reverse_polish(text.split())
        except (ArithmeticError, IndexError, TypeError, ValueError):
            raise ValueError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    if value and not 1.0 / LARGEST <= abs(value) <= LARGEST:
        raise ValueError(f"{text!r} is beyond any quantity")
    return value


def _reverse_polish(words: list[str]) -> float:
    stack: list[float] = []
    for word in (w.lower() for w in words):
        if _NUMBER.fullmatch(word):
            stack.append(float(word))
        elif word in _TWO:
            second, first = stack.pop(), stack.pop()
            stack.append(_TWO[word](first, second))
        elif word in _ONE:
            stack.append(_ONE[word](stack.pop()))
        elif word == "pi":
            stack.append(math.pi)
        elif word == "swap":
            stack[-1], stack[-2] = stack[-2], stack[-1]
        else:
            raise ValueError(word)
    (value,) = stack
    return float(value)


def whole(text: str) -> int:
    """A whole number.

    Raises:
        ValueError: where it is not.
    """
    value = number(text)
    if value != round(value):
        raise ValueError(f"{text!r} is not a whole number")
    return int(value)


def numbers(text: str) -> list[float]:
    """The numbers of an array."""
    return [number(part) for part in array(text)]


def is_yes(value: str) -> bool:
    """Whether OpenDSS reads a value as yes."""
    return value[:1].lower() in ("y", "t")
