"""The text of a MATPOWER case cut into statements of tokens: comments, continued lines, strings and matrices."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from amm_opt.errors import InputError

MAX_CHARACTERS = 100_000_000
MAX_SHOWN = 90
JOINT = "\x01"
"""Stands for the end of a line that ``...`` continues: white space that still counts as a line."""
OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = tuple(OPENING.values())
_BLOCK_OPEN, _BLOCK_CLOSE = re.compile(r"\s*[%#]\{\s*$"), re.compile(r"\s*[%#]\}\s*$")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v\x01]+)
    |(?P<newline>\n)
    |(?P<number>(?:\d+(?:\.(?![*/\\^'.])\d*)?|\.\d+)(?:[eEdD][+-]?\d+)?(?![A-Za-z_]))
    |(?P<name>[A-Za-z]\w*)
    |(?P<string>'(?:[^'\n]|'')*'|"(?:[^"\n]|"")*")
    |(?P<op>\.\^|\.\*|\./|\.'|==|~=|!=|<=|>=|&&|\|\||[-+*/^<>=&|~!:;,.()\[\]{}'])
    |(?P<bad>.)""",
    re.VERBOSE,
)
_EMPTY_PLACE = re.compile(r"[,\[;]\s*,")


@dataclass(frozen=True)
class Token:
    """One token: its kind (number, name, string, matrix, op, newline, bad), its value, and its place in the text."""

    kind: str
    value: Any
    start: int
    end: int
    spaced: bool
    """Whether white space stands before it: it separates the elements of a matrix."""

    @property
    def op(self) -> str:
        """The operator that it is; empty for anything else."""
        return str(self.value) if self.kind == "op" else ""

    @property
    def name(self) -> str:
        """The name that it is; empty for anything else."""
        return str(self.value) if self.kind == "name" else ""


@dataclass(frozen=True)
class Statement:
    """The tokens of one statement, in the text that they were cut from and with the places where its lines end."""

    tokens: list[Token]
    text: str
    line_ends: list[int]

    def place(self, token: Token | None = None) -> tuple[int, str]:
        """Line of the statement and its text; of a token in a later line, that line and its text."""
        start, end = self.tokens[0].start, self.tokens[-1].end
        first = bisect_left(self.line_ends, start)
        line = first if token is None else bisect_left(self.line_ends, token.start)
        if line > first:
            start = self.line_ends[line - 1] + 1
            end = self.line_ends[line] if line < len(self.line_ends) else len(self.text)
        words = " ".join(self.text[start : min(end, start + 200)].replace(JOINT, " ").split())
        return line + 1, words if len(words) <= MAX_SHOWN else words[: MAX_SHOWN - 3] + "..."


def statements(text: str) -> Iterator[Statement]:
    """The statements of a file, without comments.

    Raises:
        InputError: a block comment without an end, or brackets without one.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the file has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    clean = _without_comments(text)
    lines = [m.start() for m in re.finditer(f"[\n{JOINT}]", clean)]
    own: list[Token] = []
    closers: list[str] = []
    for token in _tokens(clean):
        if not closers and (token.kind == "newline" or token.op in (";", ",")):
            if own:
                yield Statement(own, clean, lines)
            own = []
            continue
        if token.op in OPENING:
            closers.append(OPENING[token.op])
        elif closers and token.op == closers[-1]:
            closers.pop()
        if not (token.kind == "newline" and closers and closers[-1] == ")"):
            own.append(token)
    if closers:
        line, shown = Statement(own, clean, lines).place()
        raise InputError(f"line {line}: {closers[-1]} is missing: {shown}", subject="MATPOWER case")
    if own:
        yield Statement(own, clean, lines)


def _without_comments(text: str) -> str:
    """The same lines without comments; a continued line ends in JOINT instead of a line break."""
    out, opened, depth = [], 0, 0
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").replace(JOINT, " ").split("\n"), 1):
        if _BLOCK_OPEN.match(line):
            opened, depth = opened if depth else number, depth + 1
            out.append("\n")
        elif depth:
            depth -= _BLOCK_CLOSE.match(line) is not None
            out.append("\n")
        else:
            out.append(_code(line))
    if depth:
        raise InputError(f"line {opened}: the block comment has no end", subject="MATPOWER case")
    return "".join(out)


def _code(line: str) -> str:
    """A line up to its comment or continuation mark, with the end that it then has."""
    i = 0
    while i < len(line):
        c = line[i]
        if c in "%#":
            return line[:i] + "\n"
        if c == "." and line.startswith("...", i):
            return line[:i] + JOINT
        if c == '"' or (c == "'" and not (i and (line[i - 1].isalnum() or line[i - 1] in "_)]}'."))):
            while (i := line.find(c, i + 1)) >= 0 and line.startswith(c, i + 1):
                i += 1
            if i < 0:
                break
        i += 1
        if c not in "'\"" and (skip := _PLAIN.match(line, i)):
            i = skip.end()
    return line + "\n"


_PLAIN = re.compile(r"[^%#.'\"]*")


def _tokens(clean: str) -> Iterator[Token]:
    place, spaced = 0, False
    before = ""
    while place < len(clean):
        found = _TOKEN.match(clean, place)
        assert found is not None
        kind, text = str(found.lastgroup), found[0]
        if kind == "space":
            place, spaced = found.end(), True
            continue
        if kind == "string" and text[0] == "'" and not spaced and (before.isalnum() or before in ("_", ")", "]", "'")):
            kind, text = "op", "'"
        value: Any = text
        end = place + len(text)
        if kind == "number":
            value = float(text.lower().replace("d", "e"))
        elif kind == "string":
            value = text[1:-1].replace(2 * text[0], text[0])
        elif text == "[" and (plain := _plain_matrix(clean, place)) is not None:
            kind, (value, end) = "matrix", plain
        yield Token(kind, value, place, end, spaced)
        place, spaced, before = end, False, clean[end - 1]


def _plain_matrix(clean: str, start: int) -> tuple[np.ndarray, int] | None:
    """A matrix of numbers alone, and where it ends; None where it holds anything else."""
    end = clean.find("]", start)
    body = clean[start + 1 : end].replace(JOINT, " ")
    if end < 0 or "_" in body or "'" in body or "[" in body or _EMPTY_PLACE.search(clean, start, end):
        return None
    rows = [r.replace(",", " ").split() for r in body.replace("\n", ";").split(";")]
    rows = [r for r in rows if r]
    if len({len(r) for r in rows}) > 1:
        return None
    try:
        values = np.array([[float(x) for x in r] for r in rows])
    except ValueError:
        return None
    return (values if rows else np.zeros((0, 0))), end + 1
