"""Variants of a case folder: other settings and tables, chosen by name, such as ``mv33lv:seed=2``.

The folder ``variants/NAME/VALUE`` holds what differs under ``NAME=VALUE``: a ``case.toml``, tables, or both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amm_opt.errors import InputError, Problems, unknown
from amm_opt.specs import read_options

VARIANTS = "variants"


def variants(folder: Path) -> dict[str, list[str]]:
    """What can be chosen of a folder, and the values of each choice."""
    root = folder / VARIANTS
    names = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    return {name.name: sorted(p.name for p in name.iterdir() if p.is_dir()) for name in names}


def chosen_variants(folder: Path, text: str, case: str) -> dict[str, Path]:
    """The folders that ``seed=2,scenario=private`` chooses, by what chooses them.

    Args:
        case: what the user calls the case, for messages.

    Raises:
        InputError: where a name or value is none of this case.
    """
    said = Problems()
    values = read_options(
        text, {name: (name, own) for name, own in variants(folder).items()}, f"case {case}", said, _one_of
    )
    said.report()
    return {f"{name}={value}": folder / VARIANTS / name / value for name, value in values.items()}


def _one_of(choice: tuple[str, list[str]], text: str) -> str:
    name, valid = choice
    if text not in valid:
        raise unknown(name, text, valid)
    return text


def only_once(given: dict[str, list[str]]) -> None:
    """See that no two variants change the same.

    Args:
        given: what each variant changes.

    Raises:
        InputError: where two do.
    """
    by: dict[str, list[str]] = {}
    for variant, items in given.items():
        for item in items:
            by.setdefault(item, []).append(variant)
    if problems := [f"{' and '.join(who)} both change {item}: choose one" for item, who in by.items() if len(who) > 1]:
        raise InputError(problems)


def settings_of(given: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings of all variants together."""
    return {key: value for settings in given.values() for key, value in settings.items()}
