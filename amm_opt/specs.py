"""Options in a text, such as ``alpha=2,rho=0``: one reader and the same sentences wherever a user may write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from amm_opt.errors import InputError, Problems, unknown
from amm_opt.fields import WORDS, alternatives

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_READ: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str, bool: lambda text: _BOOLEANS[text.lower()]}


def read_value(wanted: Any, text: str) -> Any:
    """The value that a text is under an annotation: int, float, bool, str, None, ``Literal`` or a union of these.

    Of other annotations nothing is known: the text itself.

    Raises:
        ValueError: where it is none of these kinds; says what is wanted.
    """
    kinds = alternatives(wanted)
    for kind in kinds:
        if kind is NoneType and text.lower() == "none":
            return None
        if get_origin(kind) is Literal and (chosen := [c for c in get_args(kind) if str(c) == text]):
            return chosen[0]
        try:
            if kind in _READ:
                return _READ[kind](text)
        except (ValueError, KeyError):
            continue
    if any(kind in (int, float, bool) for kind in kinds):
        raise ValueError(" or ".join(WORDS[kind] for kind in kinds if kind in WORDS))
    return text


def read_options(
    text: str,
    kinds: Mapping[str, Any],
    what: str,
    said: Problems,
    read: Callable[[Any, str], Any] = read_value,
) -> dict[str, Any]:
    """The values in ``name=value,name=value``; of those that can be read, where something is wrong.

    Args:
        kinds: the annotation of each option there is.
        what: whose options they are, for messages.
        said: collects what is wrong: an unknown name, one that is given twice, a value of the wrong kind.
        read: makes a value of an annotation and a text; raises as :func:`read_value` does, or an ``InputError``.
    """
    options: dict[str, Any] = {}
    given: set[str] = set()
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition("=")
        if name not in kinds:
            said.say(str(unknown(f"parameter of {what}", name, list(kinds) or ["none"])))
        elif name in given:
            said.say(f"{what}: {name} is given twice")
        else:
            given.add(name)
            try:
                options[name] = read(kinds[name], value)
            except InputError as error:
                said.say(str(error))
            except ValueError as error:
                said.say(f"{what}: {name} = {value!r} is not {error}")
    return options
