"""MATPOWER cases: the text of an .m file, or the same as a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases.case import Case
from amm_opt.errors import InputError, shorten
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.matpower.tables import COLUMNS, draft
from amm_opt.importers.matpower.text import evaluated
from amm_opt.importers.report import ImportReport

KNOWN = {"baseMVA", "version", "gencost", *COLUMNS}


def from_matpower(
    source: str | Path | Mapping[str, Any],
    *,
    name: str = "",
    open_branches: Sequence[str] = (),
    meshed: bool = False,
    sources: Sequence[str] = (),
) -> Case:
    """The network of a MATPOWER case with its loads and plants as a case of two intervals; see ``matpower_network``."""
    return matpower_network(source, name=name, open_branches=open_branches, meshed=meshed, sources=sources).case()


def matpower_network(
    source: str | Path | Mapping[str, Any],
    *,
    name: str = "",
    open_branches: Sequence[str] = (),
    meshed: bool = False,
    sources: Sequence[str] = (),
) -> ImportedNetwork:
    """A network from a MATPOWER case (MATPOWER manual, appendix B); balanced, and radial unless ``meshed``.

    The statements of a file are run as MATLAB would, so that expressions and conversions of units count; what is not
    assignment of numbers is refused. A reference bus is a source, held at its generators' Vg. Loads are inflexible;
    other generators export up to Pmax, of which Pmin must run; those with a negative Pmin are dispatchable loads, which
    ask for import. Where there is a ``gencost`` each generator is a participant of its own, or one for each step of a
    piecewise linear cost, with what it offers; in a meshed network those at the reference bus take part as well, and
    have limits. The demand is a snapshot of two intervals. Branches are called ``branch K`` by their row, buses
    ``bus I``.

    Args:
        source: path of an .m file, its text, or a mapping with ``baseMVA, bus, gen, branch`` (arrays).
        name: of the network; that of the file or function by default.
        open_branches: names of branches to open beside those with status 0.
        meshed: whether branches may form cycles, for the network model ``dc``.
        sources: names of reference buses that are kept; by default all, several joined at one stiff node, which is
            exact on separate trees.

    Raises:
        InputError: every statement that cannot be followed, by line; or every bus, generator and branch whose numbers
            cannot be used; or a mesh where it must not be one, with the open points it could use, or one in
            which phase shifts do not sum to nothing around a loop.
    """
    report = ImportReport()
    data, found = _read(source, report)
    name = name or found or "matpower"
    matrices = _matrices(data, name, report)
    read = draft(name, matrices, report, meshed)
    return read.network(open_branches, meshed, sources)


def _read(source: str | Path | Mapping[str, Any], report: ImportReport) -> tuple[Mapping[str, Any], str]:
    """What the source assigns, and the case's name."""
    if isinstance(source, Mapping):
        return source, ""
    if not isinstance(source, str | Path):
        raise InputError(f"source is a {type(source).__name__}; a path, the text of a case or a mapping is needed")
    text, label = str(source), ""
    if isinstance(source, Path) or not ("\n" in text or ("=" in text and not _is_file(Path(text)))):
        path = Path(source)
        report.source = str(path)
        if not _is_file(path):
            raise InputError(f"{path} not found, or not a file")
        if path.suffix.lower() == ".mat":
            raise InputError(f"{path} is binary; save the case as an .m file (savecase in MATPOWER)")
        try:
            text, label = path.read_text(encoding="utf-8-sig", errors="replace"), path.stem
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
    work = evaluated(text)
    report.read += [f"{statement}" for statement in work.followed]
    return work.data, work.name or label


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _matrices(data: Mapping[str, Any], name: str, report: ImportReport) -> dict[str, FloatArray]:
    """baseMVA and the three matrices, with at least the columns that are used."""
    problems, out = [], {}
    for key, columns in (("baseMVA", ()), *COLUMNS.items(), ("gencost", ())):
        if key not in data:
            problems += [f"mpc.{key} is missing"] * (key != "gencost")
            continue
        try:
            value = np.atleast_2d(np.asarray(data[key], dtype=float))
        except (TypeError, ValueError):
            problems.append(f"mpc.{key} is no matrix of numbers")
            continue
        if value.size == 0:
            value = np.zeros((0, len(columns)))
        if value.ndim != 2 or value.shape[1] < len(columns):
            size = " x ".join(map(str, value.shape))
            problems.append(f"mpc.{key} is {size}, at least {len(columns)} columns are needed: {' '.join(columns)}")
        out[key] = value
    base = out.get("baseMVA")
    if base is not None and not (base.size == 1 and np.isfinite(base.flat[0]) and base.flat[0] > 0):
        problems.append(f"mpc.baseMVA = {shorten(base.ravel().tolist())} must be one positive number")
    version = str(data.get("version", "2"))
    if version not in ("1", "2"):
        problems.append(f"mpc.version = {version!r}; versions 1 and 2 are read")
    links = data.get("dcline")
    if isinstance(links, np.ndarray | list) and np.size(links):
        problems.append("mpc.dcline: direct-current lines are not supported")
    if problems:
        raise InputError(problems, subject=name)
    if unread := sorted(key for key, value in data.items() if key not in KNOWN and np.size(value) != 1):
        report.left_out.append("not read: " + ", ".join(f"mpc.{key}" for key in unread))
    return out
