"""Who takes part: each load with what it draws over time, and the plants, at a load where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.errors import counted, shorten
from amm_opt.importers.imported import Demand
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.demand.power import drawn
from amm_opt.importers.opendss.demand.times import Axis
from amm_opt.importers.opendss.elements.component import PHASE_NAMES
from amm_opt.importers.opendss.elements.loads import Load, power_factor_and_rest
from amm_opt.importers.opendss.plants.plants import Generator, Plant, PVSystem, Storage
from amm_opt.importers.opendss.plants.shapes import LoadShape
from amm_opt.importers.opendss.topology import Topology
from amm_opt.importers.people import SERVICE_KW
from amm_opt.importers.report import ImportReport
from amm_opt.io.columns import unique_names

TECHNOLOGY = {PVSystem: "pv", Generator: "generator", Storage: "battery"}
SMALL = 1e-9


class People:
    """Makes participants, profiles and series; what is wrong goes to ``problems``, what is assumed to the report."""

    def __init__(self, elements: Elements, topology: Topology, problems: list[str], report: ImportReport) -> None:
        self._elements, self._topology = elements, topology
        self._problems, self._report = problems, report
        self.plants = [x for x in elements.plants if self._placed(x)]
        self._shapes = {id(x): elements.shape_of(x) for x in elements.loads}
        plant_shapes = [s for x in self.plants if not isinstance(x, Storage) for s in (x.shape(), x.shape("t"))]
        used = [s for s in (*self._shapes.values(), *plant_shapes) if s is not None and s.step_s > 0 and len(s.values)]
        self._varies = bool(used)
        self._axis = Axis(used)
        problems += self._axis.problems
        self._rows: list[dict[str, Any]] = []
        self._series: list[dict[str, Any]] = []
        self._reactive: dict[str, float] = {}

    @property
    def any(self) -> bool:
        """Whether the file says more than one power for each load."""
        return self._varies or bool(self.plants)

    def demand(self, customers: Sequence[Mapping[str, Any]], part_of: Mapping[str, tuple[Load, complex]]) -> Demand:
        """The tables of a case.

        Args:
            customers: rows of the loads, see ``Customers``.
            part_of: the load of each, by name, and its share of it.
        """
        for row in customers:
            self._customer(row, *part_of[row["name"]])
        for plant in self.plants:
            self._plant(plant)
        self._say()
        people = pd.DataFrame(self._rows)
        names = unique_names(people["name"])
        series = pd.DataFrame(self._series, columns=["participant", "quantity", "profile", "scale_kw"])
        series["participant"] = [names[i] for i in series["participant"]]
        return Demand(people.assign(name=names), self._axis.profiles(), series)

    def _placed(self, x: Plant) -> bool:
        """Whether a plant stands where something feeds it; if not, that is a problem."""
        if not self._elements.is_joined(x, self._topology.names):
            return False
        nodes = x.phase_nodes
        neutral = () if x.delta or x.between_phases else x.nodes[x.phases :]
        if x.phases > 3 or set(nodes) - set(PHASE_NAMES) or len(set(nodes)) < len(nodes) or set(neutral) & {1, 2, 3}:
            self._problems.append(f"{x.element}: unsupported element: nodes {x.nodes}")
            return False
        if x.between_phases or (x.delta and x.phases == 2):
            self._report.assumed.append(f"{x.element}: between phases; each gives half of its active power")
        self._topology.check_rated(x)
        return True

    def _customer(self, row: Mapping[str, Any], x: Load, share: complex) -> None:
        """A load, or the share of it that is on a phase: kW by time, and kvar by the power factor that fits best."""
        kw, kvar, name = drawn(x, self._shapes[id(x)], self._axis.ends_s)
        weight = float(kw @ kw)
        ratio = float(kw @ kvar) / weight if weight > SMALL else 0.0
        largest = float(np.abs(kw).max())
        own = (complex(largest, ratio * largest) if largest else 1j * float(kvar.mean())) * share
        if (off := float(np.abs(kvar - ratio * kw).max())) > SMALL + 1e-6 * float(np.abs(kvar).max()) and largest:
            self._reactive[x.element.name] = off
        factor, rest = power_factor_and_rest(own.real, own.imag)
        part = own.real / largest if largest else 0.0
        phases, low = row["phases"], self._topology.vn_kv[x.bus.lower()] < 1.0
        peak = max(float((kw * part).max()), 0.0)
        home = SERVICE_KW * len(phases)
        self._rows.append(
            {
                "name": row["name"],
                "bus": row["bus"],
                "phases": phases,
                "power_factor": factor,
                "inflexible_kvar": rest,
                "connection_import_kw": home if low and peak <= home else peak,
                "connection_export_kw": max(float((-kw * part).max()), 0.0),
            }
        )
        if largest and part:
            scale, column = (1.0, kw) if not name else (float(x.kw * x.scale), kw / (x.kw * x.scale))
            profile = self._axis.column(name or f"{x.element.name} kw", column)
            self._add(len(self._rows) - 1, "inflexible", profile, scale * part)

    def _add(self, row: int, quantity: str, profile: str, kw: float) -> None:
        self._series.append({"participant": row, "quantity": quantity, "profile": profile, "scale_kw": kw})

    def _plant(self, x: Plant) -> None:
        """A plant behind the one load on its bus and phases, or a participant of its own."""
        phases = "".join(sorted(PHASE_NAMES[n] for n in x.phase_nodes))
        bus = self._topology.names[x.bus.lower()]
        at = [i for i, row in enumerate(self._rows) if row["bus"] == bus and row["phases"] == phases]
        taken = "battery_kwh" if isinstance(x, Storage) else "power_factor_export"
        if len(at) != 1 or taken in self._rows[at[0]]:
            own = {"name": x.element.name, "bus": bus, "phases": phases, "technology": TECHNOLOGY[type(x)]}
            self._rows.append({**own, "inflexible_kvar": 0.0, "connection_import_kw": 0.0, "connection_export_kw": 0.0})
            at = [len(self._rows) - 1]
        row = self._rows[at[0]]
        if isinstance(x, Storage):
            row |= {"battery_kwh": x.usable_kwh, "battery_kw": x.kw}
            row |= {"battery_efficiency": x.efficiency, "battery_initial": x.initial}
            row["connection_import_kw"] += x.kw
            row["connection_export_kw"] += x.kw
            return
        values, factor, kvar = self._output(x)
        row["power_factor_export"] = factor
        row["inflexible_kvar"] -= kvar
        largest = float(values.max())
        row["connection_export_kw"] += largest
        if largest > 0:
            profile = self._axis.column(f"{x.element.kind} {x.element.name}", values / largest)
            self._add(at[0], "export", profile, largest)

    def _output(self, x: Plant) -> tuple[FloatArray, float, float]:
        """kW on the axis, power factor, and constant kvar that are fed in."""
        shape, warm = x.shape(), x.shape("t")
        on = None if shape is None else shape.at(self._axis.ends_s)
        if isinstance(x, PVSystem):
            hot = None if warm is None else warm.at(self._axis.ends_s)
            kw = x.output(on, hot) * np.ones(self._axis.count)
            return kw, 1.0 if x.constant_kvar else x.pf, x.kvar if x.constant_kvar else 0.0
        assert isinstance(x, Generator)
        kw = x.output(on, isinstance(shape, LoadShape) and shape.actual) * np.ones(self._axis.count)
        if (kw < 0).any():
            self._problems.append(f"{x.element}: its load shape makes it draw power; it is a load")
        if x.model == "3":
            self._report.assumed.append(f"{x.element}: model=3 holds no voltage here, its power factor is constant")
        if isinstance(shape, LoadShape) and shape.reactive is not None:
            self._report.assumed.append(f"{x.element}: its reactive power follows its active power, not qmult")
        factor, rest = power_factor_and_rest(x.kw, x.kvar)
        return np.maximum(kw, 0.0), factor, rest * x.scale

    def _say(self) -> None:
        kinds = Counter(x.element.kind for x in self.plants)
        if kinds:
            self._report.read.append("plants: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
        lasting = f"{self._axis.count} intervals of {self._axis.step_s / 60:g} minutes from 1 January 2030"
        if self._varies:
            self._report.read.append(f"load shapes on {lasting}")
            self._report.assumed.append(
                f"loads and plants follow {', else '.join(self._elements.followed)}; a shape counts as OpenDSS"
                " takes it at the end of an interval; shorter shapes begin again"
            )
        else:
            self._report.assumed.append(f"nothing follows a load shape: a snapshot, {lasting}")
        if self._reactive:
            name = max(self._reactive, key=lambda n: self._reactive[n])
            self._report.assumed.append(
                f"kvar of {counted(len(self._reactive), 'load')} with a shape of their own are drawn at the power"
                f" factor that fits best; off by up to {self._reactive[name]:.3g} kvar ({name}):"
                f" {shorten(self._reactive)}"
            )
        self._report.assumed.append(
            f"connections: {SERVICE_KW:g} kW per phase at low voltage for loads of at most that, else what a load draws"
            " and a plant gives at most"
        )
        if any(isinstance(x, Storage) for x in self.plants):
            self._report.assumed.append(
                "batteries hold what is above %reserve, with one efficiency for both ways whose product is the file's;"
                " their state, dispatch and idling losses in the file do not count"
            )
