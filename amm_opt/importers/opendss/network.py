"""OpenDSS files as a network: branches, buses, customers and the report put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, SolveError, as_path, shorten
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.opendss.branches import Branches
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.customers import CUSTOMER_COLUMNS, Customers
from amm_opt.importers.opendss.demand.people import People
from amm_opt.importers.opendss.demand.power import take_hour
from amm_opt.importers.opendss.dialect.reader import read_script
from amm_opt.importers.opendss.dialect.script import Script
from amm_opt.importers.opendss.dialect.text import numbers
from amm_opt.importers.opendss.elements.component import UnsupportedError
from amm_opt.importers.opendss.elements.loads import Capacitor, Load
from amm_opt.importers.opendss.elements.neutral import unfit_neutrals
from amm_opt.importers.opendss.elements.reactors import Reactor
from amm_opt.importers.opendss.elements.regulators import RegControl
from amm_opt.importers.opendss.lines.parallel import listed
from amm_opt.importers.opendss.plants.plants import Plant
from amm_opt.importers.opendss.prepared.service import as_one_phase, remarks
from amm_opt.importers.opendss.prepared.sources import BEHIND, choose_sources
from amm_opt.importers.opendss.report import describe
from amm_opt.importers.opendss.settings import AS_60038, AS_STATED, HELD, Settings, checked_settings
from amm_opt.importers.opendss.solved.regulation import ROUNDS, Regulation, flow
from amm_opt.importers.opendss.topology import LV_KV, Topology
from amm_opt.importers.report import ImportReport


def from_opendss(
    path: str | Path,
    *,
    xhl: str = "percent",
    neutral: str = "auto",
    ratings: Mapping[str, float | str] | float | str | None = None,
    nominal_kv: Sequence[float] | None = None,
    standard: str = AS_60038,
    lv_band_pu: tuple[float, float] | None = None,
    mv_band_pu: tuple[float, float] | None = None,
    load_voltage_pu: float | str = 1.0,
    sources: Sequence[str] | None = None,
    source_impedance: bool = True,
    regulators: str = AS_STATED,
    shapes: str | None = None,
    hour: float | str | None = None,
) -> ImportedNetwork:
    """Import a radial network from OpenDSS text: lines, transformers, switch states, loads, capacitors, groundings.

    Args:
        path: the master file, or a folder with a ``Master.dss``.
        xhl: ``"percent"``, as OpenDSS reads the transformers' xhl, or ``"per_unit"``, for files that give it so.
        neutral: how line neutrals are reduced: ``"kron"`` (grounded), ``"return"`` (carries the whole return current)
            or ``"auto"``: Kron where both ends are grounded through at most 1 ohm, neutral return elsewhere. Unless
            it is ``"kron"``, star points that are ground get the resistance of the neutral's groundings in series, see
            ``star_resistances``.
        ratings: ampacity in A by line code (or by line, where it has no code); ``inf`` is no limit, ``"guess"`` one by
            the conductor's resistance. They come before ``normamps`` of the file and the catalogue of assumed
            ampacities. ``"*"`` is for all line codes that have neither these nor ``normamps``; so is a number, or
            ``"guess"``, in place of a dictionary.
        nominal_kv: line-to-line nominal voltages; every bus gets the nearest. By default ``set voltagebases`` of the
            file, else the windings' rated voltages.
        standard: of the voltage bands, as files have none: ``"AS 60038"`` (-6 % / +10 % of 400 V, +/-10 % above 1 kV),
            ``"IEC 60038"`` (+/-10 % of 400 V, and above 1 kV) or ``"ANSI C84.1"`` (range A: +/-5 %, above 1 kV
            -2.5 % / +5 %).
        lv_band_pu, mv_band_pu: bands of buses below 1 kV and of the others in place of those.
        load_voltage_pu: of its rated kV, at which a load that depends on the voltage (models 2 to 8) is taken; the
            report says what it draws at the ends of the band. ``"solved"``: at the voltages that the file's own
            loads meet, with their ``vminpu`` and ``vmaxpu``, as OpenDSS solves them.
        sources: which to keep where the file has several, by name or bus; what only the others feed is left out. By
            default all are joined at one stiff node, which is exact on separate trees.
        source_impedance: whether a source that is not ``model=ideal`` holds its voltage behind its impedance, which is
            a branch from a bus of its own, ``"infinite_bus_of_..."``, or at its bus itself.
        regulators: ``"as_stated"``: taps as the file leaves them; ``"set_point"``: where regulator controls come to
            rest under the file's own loads, as OpenDSS solves them with controls, capacitors as they stand.
        shapes: which load shapes loads and plants follow: ``"daily"`` ones, ``"yearly"`` or ``"duty"`` ones (of both,
            the daily one where there is none). By default those of the file's ``set mode``, else yearly ones.
        hour: at which customers are taken, on the load shapes that count: a number, or ``"solve"`` for the hour at
            which the file's last solve ends (``mode``, ``number``, ``stepsize``, ``hour``). By default they have the
            power that the file states, which shapes multiply.

    Raises:
        InputError: everything that is wrong with the files, with file and line; or a mesh, with the branches that
            could be opened.
    """
    path = as_path(path, "file")
    bands = {"LV": lv_band_pu, "MV": mv_band_pu}
    settings = checked_settings(
        xhl,
        neutral,
        ratings,
        nominal_kv,
        bands,
        standard,
        load_voltage_pu,
        sources,
        source_impedance,
        regulators,
        shapes,
        hour,
    )
    return _Importer(read_script(path / "Master.dss" if path.is_dir() else path), path, settings).network()


class _Importer:
    def __init__(self, script: Script, path: Path, settings: Settings) -> None:
        self.path, self.script, self.settings = path, script, settings
        self.elements = Elements(script, settings.shapes)
        self.problems = self.elements.problems
        self.nominal = settings.nominal_kv if settings.nominal_kv is not None else self._voltage_bases()
        self.report = ImportReport(str(path))

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
        if not e.sources:
            self.problems.append("no circuit: 'new circuit.name bus1=... basekv=...' is missing")
            raise InputError(self.problems, subject=str(self.path))
        places = [x.bus for x in e.sources]
        choose_sources(e, self.settings.sources, self.settings.source_impedance)
        self.problems += take_hour(e, self.settings)
        services = as_one_phase(e)
        self.topology = Topology([*e.lines, *e.transformers], e.sources[0], sorted(self.nominal))
        branches = Branches(e, self.topology, self.settings, self.problems, self.report)
        customers = Customers(e, self.topology, self.problems, self.report, self.settings)
        lines, transformers = branches.lines(), branches.transformers()
        loads, shunts = customers.rows(), customers.shunts(branches.units, branches.moved)
        taking_part = People(e, self.topology, self.problems, self.report)
        rows = [*lines, *transformers]
        self.problems += self._contradictions(places, {id(x): b["phases"] for x, b in rows}, branches.returning)
        if self.problems:
            raise InputError(list(dict.fromkeys(self.problems)), subject=str(self.path))
        table = _table(rows)
        names = {id(x): n for (x, _), n in zip(rows, table["name"], strict=True)}
        buses = self._buses(table, names, shunts, customers.deltas)
        made = ImportedNetwork(self._title(), buses, table, pd.DataFrame(loads, columns=CUSTOMER_COLUMNS), self.report)
        made = self._settled(made, branches, customers, rows)
        self.report.assumed += customers.remarks()
        self.report.assumed += remarks(services)
        used = (branches.reductions, branches.stars, branches.used_ratings)
        if taking_part.any:
            rows_of_all = [{str(k): v for k, v in row.items()} for row in made.customers.to_dict("records")]
            made = replace(made, demand=taking_part.demand(rows_of_all, customers.part_of))
        if self.problems:
            raise InputError(list(dict.fromkeys(self.problems)), subject=str(self.path))
        describe(self.report, self.script, e, self.settings, *used, buses, made.branches, made.customers)
        self.report.check(made.feeder)
        return made

    def _settled(
        self, made: ImportedNetwork, branches: Branches, customers: Customers, rows: list[tuple[Any, dict[str, Any]]]
    ) -> ImportedNetwork:
        """What hangs on voltages: what loads draw, and where regulators that hold a set point come to rest."""
        controls = [x for x in self.elements.automatic if isinstance(x, RegControl)]
        held = controls if self.settings.regulators == HELD else []
        if said := [f"{c.element}: {why}; pass regulators='as_stated'" for c in held if (why := c.unfollowed())]:
            raise InputError(said, subject=str(self.path))
        regulation, rounds = Regulation(held), 0
        while True:
            feeder = made.feeder
            if customers.settle(made):
                made = replace(made, customers=pd.DataFrame(customers.rows(), columns=CUSTOMER_COLUMNS))
            if not held:
                return made
            try:
                moved, waits = regulation.step(flow(feeder, made.customers))
            except SolveError as error:
                raise InputError(f"regulators do not come to rest: {error}", subject=str(self.path)) from None
            rounds += 1
            if not waits or rounds > ROUNDS:
                restless = [f"regulators do not come to rest in {ROUNDS} rounds: taps as they are then"]
                self.report.assumed += restless if waits else regulation.remarks()
                return made
            if moved:
                try:
                    branches.retap()
                except UnsupportedError as error:
                    raise InputError(f"{error}; pass regulators='as_stated'", subject=str(self.path)) from None
                made = replace(made, branches=_table(rows))

    def _contradictions(self, sources: list[str], phases: Mapping[int, str], returning: set[str]) -> list[str]:
        """What is wrong with the network as a whole.

        Args:
            sources: buses of the sources that the file has.
            phases: of the branches, by ``id`` of their element.
            returning: buses whose neutral carries return current.
        """
        e, topology = self.elements, self.topology
        said = []
        if not e.broken and not (e.transformers or any(x.element.kind != "vsource" for x in e.lines)):
            said.append("no line and no transformer: the source feeds nothing")
        said += topology.problems
        if topology.uncovered:
            known = sorted({*self.nominal, *topology.uncovered}, reverse=True)
            said.append(
                f"voltage bases {self.nominal} do not cover {shorten(f'{kv:g} kV' for kv in topology.uncovered)}: pass"
                f" nominal_kv={[float(f'{kv:.4g}') for kv in known]}, or give them in set voltagebases"
            )
        meshes = list(topology.meshes())
        if not meshes:  # else what arrives where hangs on the branch that is opened
            said += topology.fed_phases(phases)
            placed: list[Load | Capacitor | Plant | Reactor] = [*e.loads, *e.reactors, *e.capacitors, *e.plants]
            said += [problem for x in placed for problem in topology.check_phases(x)]
            said += topology.ungrounded([*e.loads, *e.plants])
            said += unfit_neutrals(e.loads, e.lines, e.transformers, e.grounding, returning, topology.depth)
        if meshes and any(x.link for x in e.transformers):
            said.append(
                f"sources at {', '.join(map(repr, sources))} on one tree: name those to keep, as in"
                f" sources=[{sources[0]!r}], or open a branch between them"
            )
        said += meshes
        if not e.broken:
            said += topology.islands()
        return said

    def _title(self) -> str:
        return self.path.resolve().name if self.path.is_dir() else self.path.resolve().parent.name

    def _buses(
        self,
        branches: pd.DataFrame,
        names: Mapping[int, str],
        shunts: Mapping[tuple[str, str], complex],
        deltas: Mapping[str, complex],
    ) -> pd.DataFrame:
        phases: dict[str, set[str]] = {
            self.topology.names[self.topology.start]: set(self.topology.arriving[self.topology.start])
        }
        for start, stop, own in zip(branches["from_bus"], branches["to_bus"], branches["phases"], strict=True):
            for end in (start, stop):
                phases.setdefault(end, set()).update(own)
        top, source = self.topology, self.elements.sources[0]
        table = pd.DataFrame({"name": list(top.names.values()), "vn_kv": [top.vn_kv[b] for b in top.names]})
        table["tier"] = np.where(table["vn_kv"] < LV_KV, "LV", "MV")
        for i, column in enumerate(("v_min_pu", "v_max_pu")):
            own = zip(table["tier"], table["vn_kv"], strict=True)
            table[column] = [self.settings.band(tier, kv)[i] for tier, kv in own]
        table["phases"] = ["".join(sorted(phases.get(n, set("abc")))) for n in table["name"]]
        feeder = top.lv_feeders(self.script.circuit, names)
        table["feeder"] = [feeder.get(b) for b in top.names]
        held = source.pu * source.line_kv / top.vn_kv[top.start]
        table["v_source_pu"] = [held if b == top.start else np.nan for b in top.names]
        if top.start.startswith(BEHIND):  # no place of the network: its voltage is in its band, whatever it is
            table.loc[0, ["v_min_pu", "v_max_pu"]] = [min(held, table["v_min_pu"][0]), max(held, table["v_max_pu"][0])]
        for column, part in (("shunt_kw", "real"), ("shunt_kvar", "imag")):
            table[column] = [
                listed([getattr(shunts.get((bus, p), 0j), part) for p in own])
                for bus, own in zip(top.names, table["phases"], strict=True)
            ]
            if any(deltas.values()):
                table[column.replace("shunt", "delta")] = [getattr(deltas.get(bus, 0j), part) for bus in top.names]
        return table


def _table(rows: list[tuple[Any, dict[str, Any]]]) -> pd.DataFrame:
    """The branches table; names that a line and a transformer share get their kind."""
    table = pd.DataFrame([b for _, b in rows])
    table["name"] = table["name"].where(~table["name"].duplicated(keep=False), table["kind"] + "." + table["name"])
    return table
