"""Running the statements of a MATPOWER case: a small interpreter of the part of MATLAB that cases are written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amm_opt.errors import InputError
from amm_opt.importers.matpower.expressions import Expression, FollowsError, Unknown
from amm_opt.importers.matpower.tokens import CLOSING, OPENING, Statement, Token, statements
from amm_opt.importers.matpower.values import INDEX_FUNCTIONS, matrix, places, put, scalar, stacked

MAX_PROBLEMS = 50
_KEYWORDS = {"if", "else", "elseif", "for", "while", "switch", "case", "try", "catch", "parfor", "do", "until", "end"}
_KEYWORDS |= {"global", "persistent"}
_QUIET = {"disp", "fprintf", "printf", "warning", "format", "clc", "define_constants"}


@dataclass
class Workspace:
    """What the statements of a case leave behind.

    Attributes:
        name: of the function; empty for a script.
        data: fields of the structure that the function returns, or else all variables.
        followed: computed statements that changed data, with their lines.
    """

    name: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    followed: list[str] = field(default_factory=list)


def evaluated(text: str) -> Workspace:
    """Run the statements of a case.

    Raises:
        InputError: every statement that cannot be followed, by line and with its text.
    """
    run = _Run()
    for statement in statements(text):
        if not run.step(statement):
            break
    if run.problems:
        raise InputError(run.problems, subject="MATPOWER case")
    structure = run.variables.get(run.output)
    data = structure if isinstance(structure, dict) else run.variables
    return Workspace(run.name, data, run.followed)


class _Run:
    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.name, self.output = "", "mpc"
        self.problems: list[str] = []
        self.followed: list[str] = []
        self._functions = 0
        self._reached: Token | None = None

    def step(self, statement: Statement) -> bool:
        """Run one statement; False where nothing after it counts."""
        tokens = statement.tokens
        first = tokens[0].name
        where, text = statement.place()
        if first == "function":
            self._functions += 1
            if self._functions > 1:
                self.problems.append(f"line {where}: a second function cannot be followed: {text}")
                return False
            self._header(tokens[1:])
            return True
        if first == "return" or (first in ("end", "endfunction") and len(tokens) == 1 and self._functions):
            return False
        if first in _KEYWORDS:
            self.problems.append(f"line {where}: {first!r} cannot be followed: {text}")
            return False
        try:
            self._run(statement)
        except FollowsError:
            pass
        except InputError as error:
            where, text = statement.place(self._reached)
            self.problems.append(f"line {where}: cannot be followed: {text} ({error})")
        return len(self.problems) < MAX_PROBLEMS

    def _header(self, tokens: list[Token]) -> None:
        names = [t.name for t in tokens if t.name]
        equals = next((k for k, t in enumerate(tokens) if t.op == "="), None)
        if equals is None:
            self.name = names[0] if names else ""
            return
        outputs = [t.name for t in tokens[:equals] if t.name]
        self.output = outputs[0] if len(outputs) == 1 else ""
        self.name = names[len(outputs)] if len(names) > len(outputs) else ""

    def _run(self, statement: Statement) -> None:
        tokens, depth, equals = statement.tokens, 0, None
        self._reached = None
        for k, token in enumerate(tokens):
            depth += (token.op in OPENING) - (token.op in CLOSING)
            if token.op == "=" and depth == 0:
                equals = k
                break
        if equals is None:
            if tokens[0].name in _QUIET:
                return
            raise InputError("it assigns nothing")
        left, right = tokens[:equals], tokens[equals + 1 :]
        if left and left[0].op == "[":
            self._name_columns(left, right)
            return
        expression = Expression(right, self.variables)
        try:
            value = expression.whole()
        except (InputError, FollowsError):
            self._reached = expression.reached
            self._assign(left, Unknown(), partly=False)
            raise
        self._assign(left, value)
        if left[-1].op == ")" or any(t.name not in ("", "Inf", "NaN") for t in right):
            where, text = statement.place()
            self.followed.append(f"line {where}: {text}")

    def _name_columns(self, left: list[Token], right: list[Token]) -> None:
        """``[PQ, PV, ...] = idx_bus``: names for column numbers."""
        function = right[0].name if right else ""
        if function not in INDEX_FUNCTIONS or [t.op for t in right[1:]] not in ([], ["(", ")"]):
            raise InputError("only idx_bus, idx_brch, idx_gen and idx_cost return several values")
        names = [t for t in left[1:-1] if t.op != ","]
        numbers = list(INDEX_FUNCTIONS[function].values())
        if len(names) > len(numbers) or any(not t.name and t.op != "~" for t in names):
            raise InputError(f"{function} returns {len(numbers)} column numbers, for names")
        for token, number in zip(names, numbers, strict=False):
            if token.name:
                self.variables[token.name] = scalar(float(number))

    def _assign(self, left: list[Token], value: Any, *, partly: bool = True) -> None:
        """``name = value``, ``name.field = value``, either with indices."""
        if not left or not left[0].name:
            raise InputError("nothing that can be assigned to stands on the left")
        path, k = [left[0].name], 1
        while k + 1 < len(left) and left[k].op == "." and left[k + 1].name:
            path.append(left[k + 1].name)
            k += 2
        home = self.variables
        for name in path[:-1]:
            inner = home.setdefault(name, {})
            if not isinstance(inner, dict):
                raise InputError(f"{name} is no structure")
            home = inner
        if k == len(left):
            home[path[-1]] = value
            return
        if not partly:
            home[path[-1]] = value
            return
        if left[k].op != "(" or left[-1].op != ")":
            raise InputError("this kind of assignment is not followed")
        old = home.get(path[-1], matrix(stacked([])))
        if isinstance(old, Unknown):
            raise FollowsError
        reader = Expression(left[k + 1 : -1], self.variables)
        indices = reader.arguments_of(matrix(old))
        new = matrix(value)
        if new.size == 0:
            home[path[-1]] = _without(matrix(old), indices)
            return
        home[path[-1]] = put(matrix(old), indices, new)


def _without(old: Any, indices: list[Any]) -> Any:
    """``old(rows, :) = []`` or ``old(:, columns) = []``."""
    if len(indices) != 2 or (indices[0] is None) == (indices[1] is None):
        raise InputError("only whole rows or columns can be deleted")
    axis = 1 if indices[0] is None else 0
    keep = [k for k in range(old.shape[axis]) if k not in set(places(indices[axis], old.shape[axis]).tolist())]
    return old[keep] if axis == 0 else old[:, keep]
