"""MATPOWER cases: the text of an .m file, or the same as a dictionary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.cases.case import Case
from amm_opt.cases.importers.draft import Draft
from amm_opt.cases.importers.report import ImportReport
from amm_opt.errors import InputError

FloatArray = NDArray[np.float64]

LEAST_COLUMNS = {"bus": 13, "gen": 10, "branch": 11}
REFERENCE, ISOLATED = 3, 4
_FIELD = re.compile(r"^\s*(?:mpc\.)?(\w+)\s*=\s*(\[[^\]]*\]|[^;\[\n]+);?", re.MULTILINE)
_COMPUTED = re.compile(r"^\s*mpc\.\w+\s*\([^\n]*\)\s*=[^\n]*", re.MULTILINE)
_OHMS = re.compile(r"mpc\.branch\(:,\s*\[BR_R,?\s*BR_X\]\)\s*=.*/\s*\(\s*Vbase\^2\s*/\s*Sbase\s*\)")
_KILOWATTS = re.compile(r"mpc\.bus\(:,\s*\[PD,?\s*QD\]\)\s*=.*/\s*1e3")


def from_matpower(source: str | Path | Mapping[str, Any], *, name: str = "", open_branches: Sequence[str] = ()) -> Case:
    """A case from a MATPOWER case, format version 2 (MATPOWER manual, appendix B); balanced and radial.

    The reference bus is the source, held at its generator's Vg. Loads are inflexible; other generators export up to
    Pmax. The case is a snapshot of two intervals. Branches are called ``branch K`` by their row, buses ``bus I``.

    Args:
        source: path of an .m file, its text, or a mapping with ``baseMVA, bus, gen, branch`` (arrays).
        name: of the case; that of the file or function by default.
        open_branches: names of branches to open beside those with status 0.

    Raises:
        InputError: a file that is no MATPOWER case or computes what cannot be followed, several reference buses,
            missing base voltages, or a meshed network, with the open points it could use.
    """
    data, found, notes = _read(source)
    name = name or found or "matpower"
    return _draft(name, data, notes).case(open_branches)


def _read(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], str, list[str]]:
    """baseMVA and the three matrices, the case's name, and which units the file converts itself."""
    if isinstance(source, Mapping):
        return (
            {
                k: np.atleast_2d(np.asarray(v, dtype=float))
                for k, v in source.items()
                if k in ("baseMVA", *LEAST_COLUMNS)
            },
            "",
            [],
        )
    text, label = str(source), ""
    if isinstance(source, Path) or "\n" not in text:
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{path} not found")
        text, label = path.read_text(encoding="utf-8", errors="replace"), path.stem
    text = "\n".join(line.split("%", 1)[0] for line in text.replace("...", " ").splitlines())
    if function := re.search(r"function\s+\w+\s*=\s*(\w+)", text):
        label = function[1]
    data: dict[str, Any] = {}
    for key, value in _FIELD.findall(text):
        if key in ("baseMVA", *LEAST_COLUMNS) and key not in data:
            data[key] = _matrix(key, value)
    return data, label, _conversions(text, data)


def _matrix(key: str, value: str) -> FloatArray:
    rows = [r.replace(",", " ").split() for r in re.split(r"[;\n]", value.strip().strip("[]")) if r.strip()]
    try:
        if len({len(r) for r in rows}) > 1:
            raise ValueError("rows of different length")
        return np.array([[float(x) for x in r] for r in rows])
    except ValueError as error:
        raise InputError(f"MATPOWER case: mpc.{key}: {error}") from error


def _conversions(text: str, data: dict[str, Any]) -> list[str]:
    """Follow the two conversions that distribution cases end with, ohms and kilowatts to per unit and megawatts."""
    notes, problems = [], []
    for statement in (m.strip() for m in _COMPUTED.findall(text)):
        if _OHMS.search(statement) and "bus" in data and "branch" in data and "baseMVA" in data:
            data["branch"][:, 2:4] /= data["bus"][0, 9] ** 2 / float(data["baseMVA"].flat[0])
            notes.append("branch impedances were in ohm, as the file's own conversion says")
        elif _KILOWATTS.search(statement) and "bus" in data:
            data["bus"][:, 2:4] /= 1e3
            notes.append("loads were in kW and kvar, as the file's own conversion says")
        else:
            problems.append(f"computed statement cannot be followed: {statement}")
    if problems:
        raise InputError(problems, subject="MATPOWER case")
    return notes


def _draft(name: str, data: Mapping[str, Any], notes: list[str]) -> Draft:
    problems = [f"mpc.{key} is missing" for key in ("baseMVA", *LEAST_COLUMNS) if key not in data]
    problems += [
        f"mpc.{key} has {data[key].shape[1]} columns, at least {least} are needed"
        for key, least in LEAST_COLUMNS.items()
        if key in data and data[key].shape[1] < least
    ]
    if problems:
        raise InputError(problems, subject=name)
    bus, gen, branch = (np.asarray(data[key], dtype=float) for key in LEAST_COLUMNS)
    report = ImportReport(assumed=list(notes))
    names = {int(i): f"bus {int(i)}" for i in bus[:, 0]}
    problems += [f"{names[int(b[0])]}: baseKV = {b[9]:g} must be positive" for b in bus if not b[9] > 0]
    problems += [
        f"branch {k + 1}: no bus {int(end)}" for k, row in enumerate(branch) for end in row[:2] if int(end) not in names
    ]
    problems += [f"generator {k + 1}: no bus {int(g[0])}" for k, g in enumerate(gen) if int(g[0]) not in names]
    reference = bus[bus[:, 1] == REFERENCE, 0]
    if len(reference) != 1:
        problems.append(f"one reference bus (type 3) is needed, this case has {len(reference)}")
    problems += [
        f"branch {k + 1}: phase shift of {row[9]:g} degrees is not supported"
        for k, row in enumerate(branch)
        if row[9] % 30 != 0
    ]
    if problems:
        raise InputError(problems, subject=name)
    gen = gen[gen[:, 7] > 0]
    at_source = gen[gen[:, 0] == reference[0]]
    buses = pd.DataFrame(
        {
            "name": [names[int(i)] for i in bus[:, 0]],
            "vn_kv": bus[:, 9],
            "v_min_pu": bus[:, 12],
            "v_max_pu": bus[:, 11],
            "v_source_pu": np.where(bus[:, 0] == reference[0], at_source[0, 5] if len(at_source) else 1.0, np.nan),
        }
    )
    if isolated := int((bus[:, 1] == ISOLATED).sum()):
        report.left_out.append(f"{isolated} isolated buses (type 4)")
    if np.any(bus[:, 4:6]):
        report.left_out.append(f"shunts at buses: {bus[:, 4].sum():g} MW, {bus[:, 5].sum():g} Mvar at 1 pu")
    if np.any(branch[:, 9]):
        report.left_out.append("phase shifts of transformers, multiples of 30 degrees")
    if np.any(branch[:, 4]):
        report.left_out.append(f"line charging: {branch[:, 4].sum():g} pu")
    elements = _elements(bus, gen[gen[:, 0] != reference[0]], names, report)
    return Draft(
        name, buses, _branches(bus, branch, float(np.ravel(data["baseMVA"])[0]), names, report), elements, None, report
    )


def _branches(
    bus: FloatArray, branch: FloatArray, base_mva: float, names: Mapping[int, str], report: ImportReport
) -> pd.DataFrame:
    """Impedance in ohm at the to bus; the ratio is on the side of the from bus, as ours."""
    kv = dict(zip(bus[:, 0].astype(int), bus[:, 9], strict=True))
    start, stop = branch[:, 0].astype(int), branch[:, 1].astype(int)
    low = np.array([kv[i] for i in stop])
    ratio = np.where(branch[:, 8] == 0, 1.0, branch[:, 8])
    changes = (branch[:, 8] != 0) | (np.array([kv[i] for i in start]) != low)
    ohm = branch[:, 2:4] * (low**2 / base_mva)[:, None]
    if unrated := int((branch[:, 5] == 0).sum()):
        report.assumed.append(f"{unrated} branches without rateA have no limit")
    return pd.DataFrame(
        {
            "name": [f"branch {k + 1}" for k in range(len(branch))],
            "from_bus": [names[i] for i in start],
            "to_bus": [names[i] for i in stop],
            "r_ohm": ohm[:, 0],
            "x_ohm": ohm[:, 1],
            "kind": np.where(changes, "transformer", np.where(np.any(ohm != 0, axis=1), "line", "switch")),
            "rating_kva": np.where(branch[:, 5] > 0, 1000.0 * branch[:, 5], np.inf),
            "tap": ratio,
            "closed": branch[:, 10] > 0,
        }
    )


def _elements(bus: FloatArray, gen: FloatArray, names: Mapping[int, str], report: ImportReport) -> pd.DataFrame:
    loads = bus[np.any(bus[:, 2:4] != 0, axis=1)]
    report.read += [f"{len(loads)} loads", f"{len(gen)} generators"]
    if len(gen):
        report.assumed.append(f"{len(gen)} generators export up to Pmax at unity power factor; they hold no voltage")
    if len(loads) + len(gen) == 0:
        raise InputError("no loads and no generators: nobody takes part")
    return pd.DataFrame(
        {
            "bus": [names[int(i)] for i in (*loads[:, 0], *gen[:, 0])],
            "quantity": ["inflexible"] * len(loads) + ["export"] * len(gen),
            "p_kw": 1000.0 * np.concatenate([loads[:, 2], np.maximum(gen[:, 8], 0.0)]),
            "q_kvar": 1000.0 * np.concatenate([loads[:, 3], np.zeros(len(gen))]),
            "profile": "",
        }
    )
