"""``study.toml``: a study as a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from amm_opt.errors import InputError, Problems, as_path, unknown
from amm_opt.fields import shortened
from amm_opt.registry import is_script
from amm_opt.studies.definition import flattened
from amm_opt.studies.sample import Sample
from amm_opt.studies.study import Study

TEXTS = ("title", "start")
LISTS = ("case", "mechanism", "network", "solver", "forecast", "measurement", "tiers", "ac", "defer", "margin")
"""What may be one or a list of several."""
SCRIPTS = ("mechanism", "network")
"""What may be a class in a script, such as ``script.py:Class``."""
KEYS = (*TEXTS, "steps", "time_limit_s", *LISTS, "parameters", "variants", "sample")


def read_study(path: str | Path) -> Study:
    """The study of a file; folders of cases and scripts in it are relative to where it stands.

    Raises:
        InputError: where it cannot be read, and everything that is wrong in it, at once.
    """
    file = as_path(path, "file")
    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML: {error}") from error
    try:
        return _study(document, file.parent)
    except InputError as error:
        raise InputError(error.problems, subject=": ".join(filter(None, (str(file), error.subject)))) from error


def _study(document: Mapping[str, Any], folder: Path) -> Study:
    said = Problems()
    for name in document:
        if name not in KEYS:
            said.of(partial(_unknown, name))
    for name in ("case", "mechanism"):
        said.say("" if name in document else f"{name} is missing")
    for name in TEXTS:
        if name in document and not isinstance(document[name], str):
            said.say(f"{name} = {shortened(document[name])} must be text")
    sample = said.of(lambda: _sample(document["sample"])) if "sample" in document else None
    if said:
        rest = {name: value for name, value in document.items() if name in KEYS and name != "sample"}
        if {"case", "mechanism"} <= rest.keys():
            said.of(lambda: _made(rest, folder, None))
        said.report()
    return _made(document, folder, sample)


def _made(document: Mapping[str, Any], folder: Path, sample: Sample | None) -> Study:
    given = {name: document[name] for name in KEYS if name in document and name not in ("title", "sample")}
    for name in SCRIPTS:
        if name in given:
            several, value = isinstance(given[name], list), given[name]
            given[name] = [_script(item, folder) for item in value] if several else _script(value, folder)
    cases, mechanism = given.pop("case"), given.pop("mechanism")
    cases = cases if isinstance(cases, list) else [cases]
    if len({item for item in cases if isinstance(item, str)}) == len(cases):
        cases = {item: _place(item, folder) for item in cases}
    return Study(cases, mechanism, sample=sample, title=str(document.get("title", "")), **given)


def _unknown(name: str) -> None:
    raise unknown("key", name, KEYS)


def _place(case: str, folder: Path) -> str:
    """A case's folder beside the file, where there is one."""
    return str((folder / case).resolve()) if case and (folder / case / "case.toml").is_file() else case


def _script(item: Any, folder: Path) -> Any:
    """A script beside the file, where there is one."""
    if not isinstance(item, str) or not is_script(item):
        return item
    name, dot, rest = item.partition(".py")
    place = (folder / f"{name}{dot}").resolve()
    return f"{place}{rest}" if place.is_file() else item


def _sample(given: Any) -> Sample:
    if not isinstance(given, Mapping):
        raise InputError(f"sample = {shortened(given)} must be a table: [sample]")
    known = [item.name for item in fields(Sample)]
    said = Problems()
    for name in given:
        if name not in known:
            said.of(partial(_unknown_of_sample, name, known))
    said.report()
    bounds = given.get("bounds", {})
    return Sample(**{**given, "bounds": flattened(bounds) if isinstance(bounds, Mapping) else bounds})


def _unknown_of_sample(name: str, known: list[str]) -> None:
    raise unknown("key of [sample]", name, known)
