"""The one door for parameters from Python: the values of a dataclass's fields must fit their annotations."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

import numpy as np

from amm_opt.errors import InputError, counted

WORDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "True or False",
    str: "text",
    NoneType: "None",
}
"""What a value must be, by annotation."""


class Checked:
    """Base of dataclasses that users build: a value of the wrong kind is refused before ``__post_init__`` sees it.

    Checked are fields annotated with float (finite, or equal to the default), int, bool, str, None, a class,
    ``Literal`` or a union of these; others are left alone, and so are classes with an ``__init__`` of their own.
    """

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Refuse values that do not fit.

        Raises:
            InputError: one sentence per value, or unknown parameter.
        """
        if problems := _problems(cls, args, given):
            raise InputError(problems, subject=str(getattr(cls, "name", "") or cls.__name__))
        return super().__new__(cls)


def maker_of(kind: type) -> type | None:
    """The dataclass that wrote the ``__init__`` of a class; None where that was written by hand."""
    maker = next((c for c in kind.__mro__ if "__init__" in vars(c)), object)
    if not dataclasses.is_dataclass(maker):
        return None
    taken = set(list(inspect.signature(maker.__init__).parameters)[1:])
    return maker if taken == {f.name for f in dataclasses.fields(maker) if f.init} else None


@cache
def _known(kind: type) -> dict[str, tuple[Any, Any]] | None:
    """Annotation and default of every field in the order of ``__init__``; None where that is not a dataclass's own."""
    maker = maker_of(kind)
    if maker is None:
        return None
    try:
        hints = get_type_hints(maker)
    except (NameError, TypeError, AttributeError):
        hints = {}
    return {f.name: (hints.get(f.name, Any), f.default) for f in dataclasses.fields(maker) if f.init}


def _problems(kind: type, args: tuple[Any, ...], given: Mapping[str, Any]) -> list[str]:
    known = _known(kind)
    if known is None:
        return []
    names = ", ".join(known) or "none"
    problems = [f"unknown parameter {name!r}; valid choices: {names}" for name in given if name not in known]
    if len(args) > len(known):
        problems.append(
            f"{counted(len(args), 'parameter is', 'parameters are')} given, there are {len(known)}: {names}"
        )
    for name, value in {**dict(zip(known, args, strict=False)), **given}.items():
        if name in known and (wanted := _unfit(value, *known[name])):
            problems.append(f"{name} = {shortened(value)} must be {wanted}")
    return problems


def shortened(value: object) -> str:
    """A value in a message; arrays and tables do not fill the screen."""
    text = " ".join(_shown_whole(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _shown_whole(value: object) -> str:
    """``repr``, or the kind of a value whose own fails, such as a number with too many digits to be written."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def checked_kind(value: object, kind: type, what: str) -> None:
    """See that an argument is of a class.

    Raises:
        InputError: where it is not.
    """
    if not isinstance(value, kind):
        raise InputError(f"{what} = {shortened(value)} must be a {kind.__name__}")


def wrong_choices(item: object, **valid: Sequence[str]) -> list[str]:
    """One sentence for each of these attributes that is none of its valid choices."""
    given = {name: getattr(item, name) for name in valid}
    return [
        f"{name} = {given[name]!r}; valid choices: {', '.join(choices)}"
        for name, choices in valid.items()
        if given[name] not in choices
    ]


def not_callable(value: object, what: str) -> str:
    """A sentence where an optional function is none; empty where it is one, or None."""
    return "" if value is None or callable(value) else f"{what} = {shortened(value)} must be a function"


def alternatives(wanted: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation itself."""
    return get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)


def _unfit(value: Any, wanted: Any, default: Any) -> str:
    """What a value must be instead; empty where it fits, or where the annotation says nothing that can be checked."""
    verdicts = [_fits(value, choice, default) for choice in alternatives(wanted)]
    return "" if any(v in ("", None) for v in verdicts) else " or ".join(v for v in verdicts if v)


def _fits(value: Any, wanted: Any, default: Any) -> str | None:
    """Empty where a value fits one annotation, None where that cannot be told, else what is wanted."""
    if get_origin(wanted) is Literal:
        return "" if value in get_args(wanted) else f"one of {', '.join(map(repr, get_args(wanted)))}"
    kind = get_origin(wanted) or wanted
    check = _CHECKS.get(kind)
    if check is not None:
        endless = kind is float and isinstance(value, float) and math.isinf(value)
        fits = check(value) or (kind is float and _same(value, default))
        return "" if fits else "a finite number" if endless else WORDS[kind]
    if kind is Any or not isinstance(kind, type) or kind is object:
        return None
    try:
        return "" if isinstance(value, kind) else f"a {kind.__name__}"
    except TypeError:
        return None


def _same(value: Any, default: Any) -> bool:
    return isinstance(value, float) and isinstance(default, float) and value == default


def is_number(value: object) -> bool:
    """Whether a value is a real, finite number, of Python or numpy, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_text(value: object) -> bool:
    """Whether a value is a text that can be written to a file."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number of Python or numpy, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


_CHECKS: dict[Any, Callable[[object], bool]] = {
    float: is_number,
    int: is_whole,
    bool: lambda value: isinstance(value, bool | np.bool_),
    str: lambda value: isinstance(value, str),
    NoneType: lambda value: value is None,
}
