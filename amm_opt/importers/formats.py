"""Importers by the name of their format: ours and those of other packages, by the entry points ``amm_opt.importers``.

An importer is a function ``importer(path, **options)`` that returns an ``ImportedNetwork``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from typing import Any, get_type_hints

import numpy as np
import pandas as pd

from amm_opt.cases.folder.participants import checked_participants
from amm_opt.errors import InputError, Problems, one_line, unknown
from amm_opt.fields import is_text, shortened
from amm_opt.importers.imported import Demand, ImportedNetwork
from amm_opt.importers.report import ImportReport
from amm_opt.io.columns import check_columns, numbers
from amm_opt.io.output import foreign
from amm_opt.network import Feeder
from amm_opt.plugins import entries, load, loaded

Importer = Callable[..., ImportedNetwork]

IMPORTERS = "amm_opt.importers"
CUSTOMER_COLUMNS = ("name", "bus", "kw")
CUSTOMER_OPTIONAL = ("phases", "kvar", "power_factor", "inflexible_kvar")


def importers() -> dict[str, Importer]:
    """Every installed importer by the name of its format; those that cannot be loaded are reported and left out."""
    return loaded(IMPORTERS, _not_an_importer)


def importer(name: str) -> Importer:
    """An importer by the name of its format.

    Raises:
        InputError: unknown name, or a plug-in that cannot be loaded.
    """
    known = entries(IMPORTERS)
    if name not in known:
        raise unknown("format", name, list(known))
    return load(known[name], IMPORTERS, _not_an_importer)  # type: ignore[no-any-return]


def import_network(format: str | Importer, path: str | PathLike[str], /, **options: Any) -> ImportedNetwork:
    """The network in a file, by an installed importer or by one's own; what the importer returns is checked.

    Args:
        format: name of an installed format, such as ``"opendss"`` (``importers()`` has them all), or a function
            ``importer(path, **options)`` that returns an ``ImportedNetwork``.
        path: what the importer reads: a file, a folder, or a code of a data set.
        options: of the importer.

    Raises:
        InputError: unknown format or option, files that cannot be opened, what the importer refuses, or everything that
            is wrong with the network that it returns, with the element's name. Any other error is the importer's own
            fault: the sentence says so, and the error is its ``__cause__``.
    """
    found = importer(format) if isinstance(format, str) else format
    what = format if isinstance(format, str) else getattr(format, "__name__", type(format).__name__)
    if reason := _not_an_importer(found):
        raise InputError(f"format = {reason}")
    known = options_of(found)
    if known is not None:
        wrong = [str(unknown(f"option of {what}", name, list(known) or ["none"])) for name in options.keys() - known]
        if wrong:
            raise InputError(sorted(wrong))
    try:
        with foreign():
            network = found(path, **options)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"importer {what} failed on {path}: {one_line(error)}") from error
    except Exception as error:
        said = f"importer {what} failed on {path}: {one_line(error)}; this is a fault of the importer, please report it"
        raise InputError(said) from error
    return checked_network(network, f"importer {what}")


def options_of(found: Importer) -> dict[str, Any] | None:
    """Name and annotation of the options of an importer; None where it takes any."""
    _, *more = inspect.signature(found).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in more):
        return None
    try:
        hints = get_type_hints(found)
    except (NameError, TypeError, AttributeError):
        hints = {}
    return {p.name: hints.get(p.name, Any) for p in more if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def checked_network(network: Any, subject: str) -> ImportedNetwork:
    """What an importer returned, its report completed by the limits that the network breaks with nobody connected.

    Raises:
        InputError: everything that is wrong with it, with the element's name.
    """
    if not isinstance(network, ImportedNetwork):
        raise InputError(f"returned {shortened(network)}; an ImportedNetwork is needed", subject=subject)
    said = Problems()
    texts = ("name", "title", "licence", "attribution", "timezone")
    said.say(*(f"{t} must be text" for t in texts if not is_text(getattr(network, t))))
    said.say("name must not be empty" if network.name == "" else "")
    said.say(*_report_problems(network.report))
    known = isinstance(network.demand, Demand | None)
    said.say("" if known else f"demand = {shortened(network.demand)} must be a Demand or None")
    feeder = said.of(lambda: network.feeder) if known else None
    said.say(*_customer_problems(network.customers, feeder))
    try:
        said.report()
    except InputError as error:
        raise InputError(error.problems, subject=subject) from error
    assert feeder is not None
    network.report.check(feeder)
    return network


def _not_an_importer(item: Any) -> str:
    if not callable(item):
        return f"{shortened(item)} is not a function"
    try:
        takes = list(inspect.signature(item).parameters.values())
    except (TypeError, ValueError):
        return f"{shortened(item)} has no signature"
    first = bool(takes) and takes[0].kind in (takes[0].POSITIONAL_ONLY, takes[0].POSITIONAL_OR_KEYWORD)
    return "" if first else f"{shortened(item)} does not take a path"


def _report_problems(report: Any) -> list[str]:
    if not isinstance(report, ImportReport):
        return [f"report = {shortened(report)} must be an ImportReport"]
    return [
        f"report.{name} must be a list of sentences"
        for name in ("read", "assumed", "left_out")
        if not (isinstance(own := getattr(report, name), list) and all(isinstance(line, str) for line in own))
    ]


def _customer_problems(customers: Any, feeder: Feeder | None) -> list[str]:
    """What is wrong with the table of customers; with their places only where there is a feeder."""
    if not isinstance(customers, pd.DataFrame):
        return [f"customers = {shortened(customers)} must be a table"]
    if problems := check_columns(customers, CUSTOMER_COLUMNS, CUSTOMER_OPTIONAL, "customers"):
        return problems
    for column in [c for c in ("kw", "kvar") if c in customers]:
        values = numbers(customers, column, "customer", problems)
        endless = customers[customers[column].isna() | np.isinf(values)]
        problems += [f"customer {name!r}: {column} must be a finite number" for name in endless["name"]]
    if feeder is not None and len(customers):
        problems += checked_participants(customers.drop(columns=["kw", "kvar"], errors="ignore"), feeder)[1]
    return problems
