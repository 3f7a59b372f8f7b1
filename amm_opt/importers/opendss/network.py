"""OpenDSS files as a feeder: branches, buses, ratings, customers and the import report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, as_path
from amm_opt.fields import shortened
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.dialect.reader import read_script
from amm_opt.importers.opendss.dialect.script import Script
from amm_opt.importers.opendss.dialect.text import numbers
from amm_opt.importers.opendss.elements.lines import Line, charging_kvar, reduced_neutral, split_conductors
from amm_opt.importers.opendss.elements.loads import Capacitor, Load, between_phases, power_factor_and_rest
from amm_opt.importers.opendss.elements.part import PHASE_NAMES
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.neutral import idle_neutrals, star_resistances, unfit_neutrals
from amm_opt.importers.opendss.parallel import Conductor, listed, side_by_side, triangles
from amm_opt.importers.opendss.ratings import assumed_rating
from amm_opt.importers.opendss.report import describe
from amm_opt.importers.opendss.topology import LV_KV, Topology
from amm_opt.importers.report import ImportReport

LINK_METRES = 2.0
"""Lines up to this length are busbar links: they get no assumed rating."""
SOLID_OHM = 1.0
"""A neutral counts as grounded where its grounding has at most this resistance."""
LV_BAND_PU = (216.0 / 230.0, 253.0 / 230.0)
MV_BAND_PU = (0.9, 1.1)
CUSTOMER_COLUMNS = ["name", "bus", "phases", "kw", "kvar", "power_factor", "inflexible_kvar"]


def from_opendss(
    path: str | Path,
    *,
    xhl: str = "percent",
    neutral: str = "auto",
    ratings: Mapping[str, float] | None = None,
    nominal_kv: Sequence[float] | None = None,
    lv_band_pu: tuple[float, float] = LV_BAND_PU,
    mv_band_pu: tuple[float, float] = MV_BAND_PU,
) -> ImportedNetwork:
    """Import a radial network from OpenDSS text: lines, transformers, switch states, loads, capacitors, groundings.

    Args:
        path: the master file, or a folder with a ``Master.dss``.
        xhl: ``"percent"``, as OpenDSS reads the transformers' xhl, or ``"per_unit"``, for files that give it so.
        neutral: how line neutrals are reduced: ``"kron"`` (grounded), ``"return"`` (carries the whole return current)
            or ``"auto"``: Kron where both ends are grounded through at most 1 ohm, neutral return elsewhere. Unless
            it is ``"kron"``, star points that are ground get the resistance of the neutral's groundings in series, see
            ``star_resistances``.
        ratings: ampacity in A by line code (or by line, where it has no code); ``inf`` is no limit. They come before
            ``normamps`` of the file and the catalogue of assumed ampacities.
        nominal_kv: line-to-line nominal voltages; every bus gets the nearest. By default ``set voltagebases`` of the
            file, else the windings' rated voltages.
        lv_band_pu, mv_band_pu: voltage bands of buses below 1 kV and of the others, as files have none; by default
            -6 % / +10 % (AS 60038) and +/-10 %.

    Raises:
        InputError: everything that is wrong with the files, with file and line; or a mesh, with the branches that
            could be opened.
    """
    problems = [
        f"{name} = {value!r}; valid choices: {', '.join(valid)}"
        for name, value, valid in (
            ("xhl", xhl, ("percent", "per_unit")),
            ("neutral", neutral, ("auto", "kron", "return")),
        )
        if not isinstance(value, str) or value not in valid
    ]
    path = as_path(path, "file")
    if not _is_mapping(ratings):
        problems.append(f"ratings = {shortened(ratings)} must be a dictionary of A by name")
        ratings = None
    if not _is_list(nominal_kv):
        problems.append(f"nominal_kv = {shortened(nominal_kv)} must be a list of kV")
        nominal_kv = None
    for name, band in (("lv_band_pu", lv_band_pu), ("mv_band_pu", mv_band_pu)):
        if not (isinstance(band, tuple | list) and len(band) == 2 and all(map(_positive, band)) and band[0] < band[1]):
            problems.append(f"{name} = {shortened(band)} must be two numbers in pu, the lower first")
    own = {str(name).lower(): amps for name, amps in (ratings or {}).items()}
    problems += [f"ratings[{k!r}] = {v!r} must be a positive number of A" for k, v in own.items() if not _positive(v)]
    given = list(nominal_kv) if nominal_kv is not None else None
    problems += [f"nominal_kv: {v!r} must be a positive number of kV" for v in given or [] if not _positive(v)]
    if problems:
        raise InputError(problems)
    script = read_script(path / "Master.dss" if path.is_dir() else path)
    bands = {"LV": lv_band_pu, "MV": mv_band_pu}
    return _Importer(script, path, xhl, neutral, own, given, bands).network()


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping | None)


def _is_list(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence | None) and not isinstance(value, str | bytes)


def _positive(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | complex) and bool(value > 0)


class _Importer:
    def __init__(
        self,
        script: Script,
        path: Path,
        xhl: str,
        neutral: str,
        ratings: Mapping[str, float],
        nominal_kv: list[float] | None,
        bands: Mapping[str, tuple[float, float]],
    ) -> None:
        self.path, self.script, self.xhl, self.neutral, self.ratings = path, script, xhl, neutral, ratings
        self.bands = bands
        self.elements = Elements(script)
        self.problems = self.elements.problems
        self.nominal = nominal_kv if nominal_kv is not None else self._voltage_bases()
        self.report = ImportReport(str(path))
        self.used_ratings: dict[str, list[tuple[str, float, float]]] = {}
        self.reductions: Counter[str] = Counter()
        self.stars: dict[str, float] = {}
        self.idle_neutrals: set[str] = set()
        self.returning: set[str] = set()

    def _voltage_bases(self) -> list[float]:
        try:
            bases = numbers(self.script.option("voltagebases"))
        except ValueError as error:
            self.problems.append(f"set voltagebases: {error}")
            return []
        self.problems += [f"set voltagebases: {v:g} kV must be positive" for v in bases if not v > 0]
        return [v for v in bases if v > 0]

    def network(self) -> ImportedNetwork:
        """Everything put together, or InputError with every problem."""
        e = self.elements
        self.problems += [f"{x.element}: only one source is supported, that of the circuit" for x in e.sources[1:]]
        if not e.sources:
            self.problems.append("no circuit: 'new circuit.name bus1=... basekv=...' is missing")
        if not e.sources:
            raise InputError(self.problems, subject=str(self.path))
        self.topology = topology = Topology([*e.lines, *e.transformers], e.sources[0], sorted(self.nominal))
        if self.neutral != "kron":
            self.stars = star_resistances(e.transformers, e.lines, e.loads, e.grounding)
        self.idle_neutrals = idle_neutrals(e.lines, e.loads, e.grounding)
        lines = self._lines()
        transformers = [(x, b) for x in e.transformers if (b := self._transformer(x))]
        loads = [row for x in e.loads for row in self._customers(x)]
        shunts = self._shunts(lines, transformers)
        if not e.broken and not (e.lines or e.transformers):
            self.problems.append("no line and no transformer: the source feeds nothing")
        self.problems += topology.problems
        self.problems += topology.fed_phases({id(x): b["phases"] for x, b in (*lines, *transformers)})
        self.problems += [said for load in e.loads for said in topology.check_phases(load)]
        self.problems += unfit_neutrals(e.loads, e.lines, e.transformers, e.grounding, self.returning)
        self.problems += [said for capacitor in e.capacitors for said in topology.check_phases(capacitor)]
        self.problems += topology.meshes()
        if not e.broken:
            self.problems += topology.islands()
        if self.problems:
            raise InputError(list(dict.fromkeys(self.problems)), subject=str(self.path))
        table = pd.DataFrame([b for _, b in (*lines, *transformers)])
        table["name"] = table["name"].where(~table["name"].duplicated(keep=False), table["kind"] + "." + table["name"])
        names = {id(x): n for (x, _), n in zip((*lines, *transformers), table["name"], strict=True)}
        buses = self._buses(table, names, shunts)
        customers = pd.DataFrame(loads, columns=CUSTOMER_COLUMNS)
        used = (self.reductions, self.stars, self.used_ratings)
        describe(self.report, self.script, e, self.xhl, *used, buses, table, customers)
        made = ImportedNetwork(self._title(), buses, table, customers, self.report)
        self.report.check(made.feeder)
        return made

    def _title(self) -> str:
        return self.path.resolve().name if self.path.is_dir() else self.path.resolve().parent.name

    def _edge(self, x: Line | Transformer) -> dict[str, Any]:
        start, stop = (self.topology.names[b.lower()] for b in x.buses)
        return {"name": x.element.name, "from_bus": start, "to_bus": stop, "closed": x.closed}

    def _lines(self) -> list[tuple[Line, dict[str, Any]]]:
        """Rows of all lines; closed ones between the same buses become one."""
        single = [(x, c) for x in self.elements.lines if (c := self._conductor(x))]
        between: dict[frozenset[str], list[tuple[Line, Conductor]]] = {}
        for x, conductor in single:
            if x.closed:
                between.setdefault(frozenset(b.lower() for b in x.buses), []).append((x, conductor))
        rows: list[tuple[Line, Conductor]] = []
        merged: set[int] = set()
        for group in between.values():
            if len(group) < 2 or not self.topology.only_lines(group[0][0]):
                continue
            try:
                together = side_by_side([conductor for _, conductor in group])
            except np.linalg.LinAlgError:
                continue
            self.topology.keep_first([x for x, _ in group])
            self.report.assumed.append(f"lines side by side are one branch: {together.name}")
            rows.append((group[0][0], together))
            merged.update(id(x) for x, _ in group)
        rows = [*((x, c) for x, c in single if id(x) not in merged), *rows]
        return [(x, self._line_row(x, conductor)) for x, conductor in rows]

    def _line_row(self, x: Line, conductor: Conductor) -> dict[str, Any]:
        base = self.topology.vn_kv.get(x.buses[0].lower(), 0.4)
        rating = {"rating_kva": conductor.amps * base / math.sqrt(3)}
        return {**self._edge(x), "name": conductor.name, **conductor.columns, **rating}

    def _conductor(self, x: Line) -> Conductor | None:
        phases, neutrals = split_conductors(x.nodes[0])
        named = [x.nodes[0][i] for i in phases]
        if not phases or len(set(named)) != len(named):
            self.problems.append(f"{x.element}: nodes {x.nodes[0]} are not distinct phases 1 to 3")
            return None
        if named != [x.nodes[1][i] for i in phases] or any(x.nodes[1][i] in PHASE_NAMES for i in neutrals):
            self.problems.append(f"{x.element}: unsupported: its phases change places between its ends")
            return None
        if len(neutrals) > 1:
            self.problems.append(f"{x.element}: unsupported: {len(neutrals)} neutral conductors")
            return None
        how = self.neutral if neutrals else "none"
        if how == "auto":
            ends = zip(x.buses, x.nodes, strict=True)
            how = "kron" if all(self._solid(b, n[neutrals[0]]) for b, n in ends) else "return"
        if how == "return" and x.buses[0].lower() in self.idle_neutrals:
            how = "idle"
        self.reductions[how] += 1
        if how == "return":
            self.returning.update(b.lower() for b in x.buses)
        z = reduced_neutral(x.z_ohm, phases, neutrals, how)
        order = np.argsort(named)
        base = self.topology.vn_kv.get(x.buses[0].lower(), 0.4)
        charging = charging_kvar(x.c_nf, phases, base, self.elements.frequency)[order]
        amps = self._amps(x)
        return Conductor(
            x.element.name,
            x.switch,
            "".join(PHASE_NAMES[n] for n in sorted(named)),
            z[np.ix_(order, order)],
            math.nan if amps is None else amps,
            charging,
        )

    def _solid(self, bus: str, node: int) -> bool:
        return node == 0 or self.elements.grounding.get(bus.lower(), math.inf) <= SOLID_OHM

    def _amps(self, x: Line) -> float | None:
        """Ampacity: the caller's, the file's, none for switches and links, the catalogue's; or a problem."""
        label = x.code or x.element.name
        own = self.ratings.get(label.lower())
        if own is not None or x.amps is not None:
            amps, source = (own, "given by the caller") if own is not None else (x.amps, "normamps of the file")
            if amps is None or not amps > 0:
                self.problems.append(f"{x.element}: normamps = {amps} must be positive")
                return None
        elif x.switch or x.metres <= LINK_METRES:
            amps, source = math.inf, f"assumed: switch, or link of at most {LINK_METRES:g} m, without limit"
        else:
            found = assumed_rating(label, self.ratings)
            if found is None:
                self.problems.append(
                    f"{x.element}: missing rating: no normamps, and {label!r} is not in the catalogue;"
                    f" pass ratings={{{label!r}: amps}}"
                )
                return None
            amps, source = found.amps, found.source
        self.used_ratings.setdefault(source, []).append((label, float(amps or 0.0), x.metres))
        return amps

    def _transformer(self, x: Transformer) -> dict[str, Any] | None:
        group = {("wye", "wye"): "YNyn0", ("delta", "wye"): "Dyn11" if x.lead else "Dyn1"}.get(x.conns)
        nodes = [[n for n in side[: x.phases] if n in PHASE_NAMES] for side in x.nodes]
        distinct = len(set(nodes[0])) == x.phases
        if group is None or not distinct or nodes[0] != nodes[1] or (group != "YNyn0" and nodes[0] != [1, 2, 3]):
            self.problems.append(
                f"{x.element}: unsupported element: connection {'-'.join(x.conns)} on nodes {x.nodes[0]} and"
                f" {x.nodes[1]}; supported are wye-wye on the same phases and three-phase delta-wye"
            )
            return None
        delta, wye = (self.topology.depth.get(b.lower(), 0) for b in x.buses)
        if group != "YNyn0" and delta > wye:
            self.problems.append(f"{x.element}: unsupported element: connection wye-delta, fed from its wye side")
            return None
        reactance = x.xhl * (100.0 if self.xhl == "per_unit" else 1.0)
        one = 3.0 / x.phases if x.phases < 3 else 1.0
        kv = x.kv[1] * x.taps[1] * (math.sqrt(3) if x.phases == 1 else 1.0)
        z = complex(x.r_percent, reactance) / 100.0 * kv**2 * 1000.0 / (x.kva * one)
        matrix = np.asarray(z * np.eye(x.phases) + self.stars.get(x.element.name, 0.0), dtype=np.complex128)
        up, down = (self.topology.vn_kv.get(b.lower(), k) for b, k in zip(x.buses, x.kv, strict=True))
        ratio = x.kv[0] * x.taps[0] / (x.kv[1] * x.taps[1])
        return {
            **self._edge(x),
            "kind": "transformer",
            **triangles(matrix),
            "rating_kva": x.rating_kva / x.phases,
            "tap": ratio * down / up,
            "phases": "".join(PHASE_NAMES[n] for n in sorted(nodes[0])),
            "vector_group": group,
            "charging_kvar": 0.0,
        }

    def _customers(self, x: Load) -> list[dict[str, Any]]:
        """Rows of a load: one, or one for each of the two phases that it is between."""
        if not self._known_bus(x):
            return []
        nodes = x.nodes[: x.phases] + (x.nodes[1:2] if x.between_phases else ())
        neutral = () if x.delta or x.between_phases else x.nodes[x.phases : x.phases + 1]
        wrong = set(nodes) - set(PHASE_NAMES) or set(neutral) & set(PHASE_NAMES) or len(set(nodes)) < len(nodes)
        if x.phases > 3 or wrong or (x.delta and x.phases == 2):
            self.problems.append(
                f"{x.element}: unsupported element: nodes {x.nodes}; supported are loads from phases to neutral,"
                " between two phases, and on three phases"
            )
            return []
        self.topology.check_rated(x)
        if x.model != "1":
            self.report.assumed.append(f"{x.element}: model={x.model} is taken as constant power")
        power = complex(x.kw, x.kvar) * x.scale
        names = [PHASE_NAMES[n] for n in nodes]
        if not x.between_phases:
            return [self._row(x, x.element.name, "".join(sorted(names)), power)]
        shares = between_phases(names[0], names[1])
        return [self._row(x, f"{x.element.name}.{p}", p, power * s) for p, s in zip(names, shares, strict=True)]

    def _row(self, x: Load, name: str, phases: str, power: complex) -> dict[str, Any]:
        factor, rest = power_factor_and_rest(power.real, power.imag)
        return {
            "name": name,
            "bus": self.topology.names[x.bus.lower()],
            "phases": phases,
            "kw": power.real,
            "kvar": power.imag,
            "power_factor": factor,
            "inflexible_kvar": rest,
        }

    def _known_bus(self, x: Load | Capacitor) -> bool:
        """Whether something ends at a bus; only where nothing is broken that might is it a problem."""
        if x.bus.lower() in self.topology.names:
            return True
        if x.bus.lower() not in self.elements.ends:
            self.problems.append(f"{x.element}: unknown bus {x.bus!r}: no line or transformer ends there")
        return False

    def _shunts(
        self, lines: list[tuple[Line, dict[str, Any]]], transformers: list[tuple[Transformer, dict[str, Any]]]
    ) -> dict[tuple[str, str], complex]:
        """kW drawn and kvar fed in at nominal voltage by bus and phase: capacitors, and transformers without load."""
        shunts: dict[tuple[str, str], complex] = {}
        for x in self.elements.capacitors:
            if self._known_bus(x):
                self.topology.check_rated(x)
                ratio = self.topology.vn_kv[x.bus.lower()] / (x.kv * (math.sqrt(3) if x.phases == 1 else 1.0))
                for node in x.nodes:
                    key = (x.bus.lower(), PHASE_NAMES[node])
                    shunts[key] = shunts.get(key, 0.0) + 1j * x.kvar * ratio**2 / x.phases
        for t, branch in transformers:
            bus = t.buses[t.idle_end].lower()
            rated = t.kv[t.idle_end] * t.taps[t.idle_end] * (math.sqrt(3) if t.phases == 1 else 1.0)
            power = complex(t.no_load_loss, -t.magnetising) / 100.0 * t.kva * (self.topology.vn_kv[bus] / rated) ** 2
            for phase in branch["phases"] if power else "":
                shunts[bus, phase] = shunts.get((bus, phase), 0.0) + power / t.phases
        return shunts

    def _buses(
        self, branches: pd.DataFrame, names: Mapping[int, str], shunts: Mapping[tuple[str, str], complex]
    ) -> pd.DataFrame:
        phases: dict[str, set[str]] = {self.topology.names[self.topology.start]: set("abc")}
        for start, stop, own in zip(branches["from_bus"], branches["to_bus"], branches["phases"], strict=True):
            for end in (start, stop):
                phases.setdefault(end, set()).update(own)
        top, source = self.topology, self.elements.sources[0]
        table = pd.DataFrame({"name": list(top.names.values()), "vn_kv": [top.vn_kv[b] for b in top.names]})
        table["tier"] = np.where(table["vn_kv"] < LV_KV, "LV", "MV")
        for i, column in enumerate(("v_min_pu", "v_max_pu")):
            table[column] = [self.bands[t][i] for t in table["tier"]]
        table["phases"] = ["".join(sorted(phases.get(n, set("abc")))) for n in table["name"]]
        feeder = top.lv_feeders(self.script.circuit, names)
        table["feeder"] = [feeder.get(b) for b in top.names]
        held = source.pu * source.kv / top.vn_kv[top.start]
        table["v_source_pu"] = [held if b == top.start else np.nan for b in top.names]
        for column, part in (("shunt_kw", "real"), ("shunt_kvar", "imag")):
            table[column] = [
                listed([getattr(shunts.get((bus, p), 0j), part) for p in own])
                for bus, own in zip(top.names, table["phases"], strict=True)
            ]
        return table
