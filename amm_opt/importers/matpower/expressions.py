"""Expressions of MATPOWER cases: tokens to values, by recursive descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amm_opt.errors import InputError
from amm_opt.importers.matpower.tokens import CLOSING, OPENING, Token
from amm_opt.importers.matpower.values import (
    CONSTANTS,
    FUNCTIONS,
    Cell,
    matrix,
    operate,
    scalar,
    span,
    stacked,
    taken,
)

DEEPEST = 40
_LEVELS = (
    ("||",),
    ("&&",),
    ("|",),
    ("&",),
    ("<", "<=", ">", ">=", "==", "~=", "!="),
    (":",),
    ("+", "-"),
    ("*", "/", ".*", "./"),
)
"""Operators from the loosest to the tightest; unary signs and powers follow."""


class Unknown:
    """What a refused statement would have given; statements that use it are refused without another word."""


class FollowsError(Exception):
    """A statement that uses what a refused statement gives."""


class Expression:
    """Evaluates the tokens of one expression by recursive descent."""

    def __init__(self, tokens: list[Token], variables: Mapping[str, Any]) -> None:
        self._tokens, self._variables = tokens, variables
        self._place, self._depth, self._in_matrix = 0, 0, False
        self._ends: list[tuple[Any, int, int]] = []

    def whole(self) -> Any:
        """The value of all tokens."""
        value = self._binary(0)
        if self._place < len(self._tokens):
            raise InputError(f"{self._tokens[self._place].value!r} is not expected")
        return value

    @property
    def reached(self) -> Token | None:
        """The last token that was read."""
        return self._tokens[self._place - 1] if self._place else None

    def arguments_of(self, indexed: Any) -> list[Any]:
        """All tokens as indices of a matrix, None for a colon."""
        values = self._arguments(indexed, closed=False)
        if self._place < len(self._tokens):
            raise InputError(f"{self._tokens[self._place].value!r} is not expected")
        return values

    def _next(self, *values: str) -> Token | None:
        """The next token where it is one of these operators."""
        if self._place < len(self._tokens):
            token = self._tokens[self._place]
            if token.op in values:
                return token
        return None

    def _starts_element(self, token: Token) -> bool:
        """Whether a sign in a matrix begins a new element: ``[1 -2]``, but not ``[1 - 2]``."""
        after = self._tokens[self._place + 1] if self._place + 1 < len(self._tokens) else None
        return self._in_matrix and token.spaced and after is not None and not after.spaced

    def _binary(self, level: int) -> Any:
        if level == len(_LEVELS):
            return self._unary()
        operators = _LEVELS[level]
        left = self._binary(level + 1)
        if operators == (":",):
            return self._range(left, level)
        while token := self._next(*operators):
            if token.op in ("+", "-") and self._starts_element(token):
                break
            self._place += 1
            left = operate(token.op, left, self._binary(level + 1))
        return left

    def _range(self, first: Any, level: int) -> Any:
        parts = [first]
        while self._next(":") and len(parts) < 3:
            self._place += 1
            parts.append(self._binary(level + 1))
        return span(parts) if len(parts) > 1 else first

    def _unary(self) -> Any:
        signs = []
        while token := self._next("+", "-", "~", "!"):
            signs.append(token.op)
            self._place += 1
        value = self._power()
        for sign in reversed(signs):
            if sign != "+":
                value = -matrix(value).astype(float) if sign == "-" else matrix(value) == 0
        return value

    def _power(self) -> Any:
        base = self._postfix()
        while token := self._next("^", ".^"):
            self._place += 1
            sign = 1.0
            while mark := self._next("+", "-"):
                sign = -sign if mark.op == "-" else sign
                self._place += 1
            base = operate(token.op, base, operate("*", scalar(sign), self._postfix()))
        return base

    def _postfix(self) -> Any:
        value = self._primary()
        while token := self._next("'", ".'"):
            if self._in_matrix and token.spaced:
                break
            self._place += 1
            value = matrix(value).T
        return value

    def _primary(self) -> Any:
        if self._place >= len(self._tokens):
            raise InputError("it ends too early")
        token = self._tokens[self._place]
        self._place += 1
        if token.kind == "number":
            return scalar(token.value)
        if token.kind in ("matrix", "string"):
            return token.value
        if token.name:
            return self._named(token.name)
        if token.op in OPENING:
            return self._bracketed(token.op)
        raise InputError(f"{token.value!r} is not expected")

    def _bracketed(self, opening: str) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InputError(f"brackets stand more than {DEEPEST} deep")
        outside, self._in_matrix = self._in_matrix, opening != "("
        if opening == "(":
            value = self._binary(0)
            self._expect(")")
        else:
            rows = self._rows("]" if opening == "[" else "}")
            value = stacked(rows) if opening == "[" else Cell(v for row in rows for v in row)
        self._in_matrix = outside
        self._depth -= 1
        return value

    def _rows(self, closing: str) -> list[list[Any]]:
        rows: list[list[Any]] = [[]]
        while self._place < len(self._tokens):
            token = self._tokens[self._place]
            separator = token.op
            if separator == closing:
                self._place += 1
                return [r for r in rows if r]
            if token.kind == "newline" or separator == ";":
                rows.append([])
            elif separator != ",":
                rows[-1].append(self._binary(0))
                continue
            self._place += 1
        raise InputError(f"{closing} is missing")

    def _expect(self, closing: str) -> None:
        if not self._next(closing):
            raise InputError(f"{closing} is missing")
        self._place += 1

    def _named(self, name: str) -> Any:
        if name == "end" and self._ends:
            indexed, k, count = self._ends[-1]
            shape = matrix(indexed).shape
            return scalar(float(shape[k] if count == 2 else shape[0] * shape[1]))
        if name in self._variables:
            value: Any = self._variables[name]
            while isinstance(value, dict):
                value = self._member(name, value)
            if isinstance(value, Unknown):
                raise FollowsError
            return taken(matrix(value), self._called(value)) if self._calls() else value
        if name in FUNCTIONS and self._calls():
            return self._result(name, self._called(None))
        if name in CONSTANTS and not self._calls():
            return scalar(CONSTANTS[name])
        raise InputError(f"{name} is not known")

    def _member(self, name: str, structure: dict[str, Any]) -> Any:
        after = self._tokens[self._place + 1] if self._place + 1 < len(self._tokens) else None
        if not self._next(".") or after is None or not after.name:
            raise InputError(f"the structure {name} stands where numbers must")
        self._place += 2
        if after.name not in structure:
            raise InputError(f"{name}.{after.name} is not known")
        return structure[after.name]

    def _calls(self) -> bool:
        token = self._next("(")
        return token is not None and not (self._in_matrix and token.spaced)

    def _called(self, indexed: Any) -> list[Any]:
        self._place += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise InputError(f"brackets stand more than {DEEPEST} deep")
        outside, self._in_matrix = self._in_matrix, False
        values = self._arguments(indexed, closed=True)
        self._in_matrix = outside
        self._depth -= 1
        return values

    def _result(self, name: str, given: list[Any]) -> Any:
        try:
            return FUNCTIONS[name](*given)
        except TypeError as error:
            raise InputError(f"{name} cannot be called like this") from error

    def _arguments(self, indexed: Any, *, closed: bool) -> list[Any]:
        """Values between commas; a lone colon is None where a matrix is indexed."""
        values: list[Any] = []
        count = self._count()
        while not (closed and self._next(")")) and self._place < len(self._tokens):
            alone = self._tokens[self._place + 1] if self._place + 1 < len(self._tokens) else None
            if indexed is not None and self._next(":") and (alone is None or alone.op in (",", ")")):
                self._place += 1
                values.append(None)
            elif indexed is None:
                values.append(self._binary(0))
            else:
                self._ends.append((indexed, len(values), count))
                values.append(self._binary(0))
                self._ends.pop()
            if not self._next(","):
                break
            self._place += 1
        if closed:
            self._expect(")")
        return values

    def _count(self) -> int:
        """How many arguments follow, at this depth of brackets."""
        depth, count = 0, 1
        for token in self._tokens[self._place :]:
            if token.op in OPENING:
                depth += 1
            elif token.op in CLOSING:
                if depth == 0:
                    break
                depth -= 1
            elif token.op == "," and depth == 0:
                count += 1
        return count
