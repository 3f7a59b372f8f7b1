"""OpenDSS files as a feeder: topology, base voltages, ratings and the import report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from amm_opt.cases.importers.opendss_elements import (
    PHASE_NAMES,
    Elements,
    Line,
    Load,
    Transformer,
    reduced_neutral,
    split_conductors,
)
from amm_opt.cases.importers.opendss_neutral import star_resistances
from amm_opt.cases.importers.opendss_report import describe
from amm_opt.cases.importers.opendss_text import Script, array, read_script
from amm_opt.cases.importers.ratings import assumed_rating
from amm_opt.cases.importers.report import ImportedNetwork, ImportReport
from amm_opt.errors import InputError, shorten

LINK_METRES = 2.0
"""Lines up to this length are busbar links: they get no assumed rating."""
SOLID_OHM = 1.0
"""A neutral counts as grounded where its grounding has at most this resistance."""
BASE_TOLERANCE = 0.10
"""How far a rated voltage may be from the nominal voltage of its bus."""
LV_BAND_PU = (216.0 / 230.0, 253.0 / 230.0)
MV_BAND_PU = (0.9, 1.1)


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
    """Import a radial network from OpenDSS text: lines, linecodes, switches, transformers, loads, groundings.

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
    for name, value, valid in (
        ("xhl", xhl, ("percent", "per_unit")),
        ("neutral", neutral, ("auto", "kron", "return")),
    ):
        if value not in valid:
            raise InputError(f"{name} = {value!r}; valid choices: {', '.join(valid)}")
    path = Path(path)
    script = read_script(path / "Master.dss" if path.is_dir() else path)
    own = {name.lower(): float(amps) for name, amps in (ratings or {}).items()}
    return _Importer(script, path, xhl, neutral, own, nominal_kv, lv_band_pu, mv_band_pu).network()


class _Importer:
    def __init__(
        self,
        script: Script,
        path: Path,
        xhl: str,
        neutral: str,
        ratings: Mapping[str, float],
        nominal_kv: Sequence[float] | None,
        lv_band_pu: tuple[float, float],
        mv_band_pu: tuple[float, float],
    ) -> None:
        self.path, self.script, self.xhl, self.neutral, self.ratings = path, script, xhl, neutral, ratings
        self.band = {"LV": lv_band_pu, "MV": mv_band_pu}
        bases = array(script.options.get("voltagebases", ""))
        self.nominal = sorted(float(v) for v in (nominal_kv if nominal_kv is not None else bases))
        self.given_bases = nominal_kv is not None or bool(bases)
        self.elements = Elements(script)
        self.problems = self.elements.problems
        self.names: dict[str, str] = {}
        self.report = ImportReport(str(path))
        self.used_ratings: dict[str, list[tuple[str, float, float]]] = {}
        self.reductions: Counter[str] = Counter()
        self.stars: dict[str, float] = {}

    def network(self) -> ImportedNetwork:
        """Everything put together, or InputError with every problem."""
        e = self.elements
        if len(e.sources) != 1:
            self.problems.append("no circuit: 'new circuit.name bus1=... basekv=...' is missing")
        if self.problems:
            raise InputError(self.problems, subject=str(self.path))
        edges: list[Line | Transformer] = [*e.lines, *e.transformers]
        for bus in (e.sources[0]["bus"], *(b for x in edges for b in x.buses)):
            self.names.setdefault(bus.lower(), bus)
        if self.neutral != "kron":
            self.stars = star_resistances(e.transformers, e.lines, e.loads, e.grounding)
        graph = self._graph(edges)
        vn = self._base_voltages(graph)
        branches = [b for x in e.lines if (b := self._line(x, vn))]
        branches += [b for x in e.transformers if (b := self._transformer(x, vn))]
        loads = [c for x in e.loads if (c := self._customer(x, vn))]
        self._check_tree(graph)
        if self.problems:
            raise InputError(self.problems, subject=str(self.path))
        buses = self._buses(vn, branches)
        table = pd.DataFrame(branches)
        table["name"] = table["name"].where(~table["name"].duplicated(keep=False), table["kind"] + "." + table["name"])
        customers = pd.DataFrame(loads, columns=["name", "bus", "phases", "kw", "power_factor"])
        used = (self.reductions, self.stars, self.used_ratings)
        describe(self.report, self.script, e, self.xhl, *used, buses, table, customers)
        return ImportedNetwork(self._title(), buses, table, customers, self.report)

    def _title(self) -> str:
        return self.path.resolve().name if self.path.is_dir() else self.path.resolve().parent.name

    def _graph(self, edges: list[Line | Transformer]) -> nx.MultiGraph[str]:
        graph: nx.MultiGraph[str] = nx.MultiGraph()
        graph.add_nodes_from(self.names)
        for edge in edges:
            a, b = (bus.lower() for bus in edge.buses)
            if a == b:
                self.problems.append(f"{edge.element}: both ends are at bus {edge.buses[0]!r}")
            elif edge.closed:
                graph.add_edge(a, b, edge=edge)
        return graph

    def _check_tree(self, graph: nx.MultiGraph[str]) -> None:
        """Meshes, with the branches that could be opened, and buses that nothing feeds."""
        source = self.elements.sources[0]["bus"].lower()
        problems = self.problems
        if graph.number_of_edges() == len(graph) - 1 and nx.is_connected(graph):
            return
        simple = nx.Graph(graph)
        for a, b in simple.edges:
            if graph.number_of_edges(a, b) > 1:
                problems.append("mesh: open one of " + _openable([d["edge"] for d in graph[a][b].values()]))
        for cycle in nx.cycle_basis(simple):
            around = [
                next(iter(graph[a][b].values()))["edge"] for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
            ]
            problems.append("mesh: open one of " + _openable(around))
        problems.extend(
            f"island: no closed line or transformer joins {shorten(sorted(self.names[b] for b in part))} to the source"
            f" bus {self.names[source]!r}"
            for part in nx.connected_components(simple)
            if source not in part
        )

    def _base_voltages(self, graph: nx.MultiGraph[str]) -> dict[str, float]:
        """Nominal voltage of every bus, from the source outwards; contradictions are problems."""
        source = self.elements.sources[0]
        start = source["bus"].lower()
        vn = {start: self._nominal(source["kv"])}
        self._check_kv(source["element"], "basekv", source["kv"], vn[start])
        for component in nx.connected_components(graph):
            if start not in component:
                at = next(iter(component))
                vn[at] = next(
                    (
                        self._winding(d["edge"], at)
                        for *_, d in graph.edges(at, data=True)
                        if isinstance(d["edge"], Transformer)
                    ),
                    0.4,
                )
        stack = list(vn)
        while stack:
            bus = stack.pop()
            for _, other, data in graph.edges(bus, data=True):
                edge = data["edge"]
                value = self._winding(edge, other) if isinstance(edge, Transformer) else vn[bus]
                if other not in vn:
                    vn[other] = value
                    stack.append(other)
                elif vn[other] != value:
                    self.problems.append(
                        f"{edge.element}: inconsistent base voltage: bus {self.names[other]!r} is at {vn[other]:g} kV"
                        f" elsewhere and at {value:g} kV here"
                    )
        for x in self.elements.transformers:
            for bus, kv in zip(x.buses, x.kv, strict=True):
                if bus.lower() in vn:
                    phase_voltage = x.phases == 1
                    self._check_kv(
                        x.element, f"kv at bus {bus!r}", kv * (math.sqrt(3) if phase_voltage else 1.0), vn[bus.lower()]
                    )
        return vn

    def _winding(self, x: Transformer, bus: str) -> float:
        kv = x.kv[[b.lower() for b in x.buses].index(bus)]
        return self._nominal(kv * (math.sqrt(3) if x.phases == 1 else 1.0))

    def _nominal(self, kv: float) -> float:
        return min(self.nominal, key=lambda v: abs(math.log(v / kv))) if self.nominal else kv

    def _check_kv(self, element: object, what: str, kv: float, base: float) -> None:
        if not abs(kv / base - 1.0) <= BASE_TOLERANCE:
            self.problems.append(
                f"{element}: inconsistent base voltage: {what} is {kv:.4g} kV, the bus is at {base:g} kV"
            )

    def _line(self, x: Line, vn: Mapping[str, float]) -> dict[str, Any] | None:
        phases, neutrals = split_conductors(x.nodes[0])
        if [x.nodes[0][i] for i in phases] != [x.nodes[1][i] for i in phases]:
            self.problems.append(f"{x.element}: unsupported: its phases change places between its ends")
            return None
        named = [x.nodes[0][i] for i in phases]
        if not phases or len(set(named)) != len(named):
            self.problems.append(f"{x.element}: nodes {x.nodes[0]} are not distinct phases 1 to 3")
            return None
        if len(neutrals) > 1:
            self.problems.append(f"{x.element}: unsupported: {len(neutrals)} neutral conductors")
            return None
        how = self.neutral if neutrals else "none"
        if how == "auto":
            how = (
                "kron"
                if all(self._solid(b, n[neutrals[0]]) for b, n in zip(x.buses, x.nodes, strict=True))
                else "return"
            )
        self.reductions[how] += 1
        z = reduced_neutral(x.z_ohm, phases, neutrals, how)
        if named != sorted(named):
            order = np.argsort(named)
            z = z[np.ix_(order, order)]
        base = vn.get(x.buses[0].lower(), 0.4)
        amps = self._amps(x)
        return {
            **_edge(x, self.names),
            "kind": "switch" if x.switch else "line",
            **_triangles(z),
            "rating_kva": math.inf if amps is None else amps * base / math.sqrt(3),
            "tap": 1.0,
            "phases": "".join(PHASE_NAMES[n] for n in sorted(named)),
            "vector_group": "YNyn0",
        }

    def _solid(self, bus: str, node: int) -> bool:
        return node == 0 or self.elements.grounding.get(bus.lower(), math.inf) <= SOLID_OHM

    def _amps(self, x: Line) -> float | None:
        """Ampacity: the caller's, the file's, none for switches and links, the catalogue's; or a problem."""
        label = x.code or x.element.name
        own = self.ratings.get(label.lower())
        if own is not None or x.amps is not None:
            amps, source = (own, "given by the caller") if own is not None else (x.amps, "normamps of the file")
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

    def _transformer(self, x: Transformer, vn: Mapping[str, float]) -> dict[str, Any] | None:
        group = {("wye", "wye"): "YNyn0", ("delta", "wye"): "Dyn11" if x.lead else "Dyn1"}.get(x.conns)
        nodes = [[n for n in side[: x.phases] if n in PHASE_NAMES] for side in x.nodes]
        if group is None or len(nodes[0]) != x.phases or nodes[0] != nodes[1] or (group != "YNyn0" and x.phases != 3):
            self.problems.append(
                f"{x.element}: unsupported element: connection {'-'.join(x.conns)} on nodes {x.nodes[0]} and"
                f" {x.nodes[1]}; supported are wye-wye on the same phases and three-phase delta-wye"
            )
            return None
        reactance = x.xhl * (100.0 if self.xhl == "per_unit" else 1.0)
        one = 3.0 / x.phases if x.phases < 3 else 1.0
        kv = x.kv[1] * x.taps[1] * (math.sqrt(3) if x.phases == 1 else 1.0)
        z = complex(x.r_percent, reactance) / 100.0 * kv**2 * 1000.0 / (x.kva * one)
        up, down = (vn.get(b.lower(), k) for b, k in zip(x.buses, x.kv, strict=True))
        ratio = x.kv[0] * x.taps[0] / (x.kv[1] * x.taps[1])
        return {
            **_edge(x, self.names),
            "kind": "transformer",
            **_triangles(z * np.eye(x.phases) + self.stars.get(x.element.name, 0.0)),
            "rating_kva": x.kva / x.phases,
            "tap": ratio * down / up,
            "phases": "".join(PHASE_NAMES[n] for n in sorted(nodes[0])),
            "vector_group": group,
        }

    def _customer(self, x: Load, vn: Mapping[str, float]) -> dict[str, Any] | None:
        bus = x.bus.lower()
        if bus not in vn:
            self.problems.append(f"{x.element}: unknown bus {x.bus!r}: no line or transformer ends there")
            return None
        phases, others = split_conductors(x.nodes[: x.phases])
        if (
            x.phases not in (1, 3)
            or others
            or (x.phases == 1 and (x.delta or (x.nodes[1:2] and x.nodes[1] in (1, 2, 3))))
        ):
            self.problems.append(
                f"{x.element}: unsupported element: nodes {x.nodes}; supported are loads from one phase to neutral and"
                " three-phase loads"
            )
            return None
        line_kv = x.kv * (math.sqrt(3) if x.phases == 1 else 1.0)
        self._check_kv(x.element, f"kv = {x.kv:g} at bus {x.bus!r}", line_kv, vn[bus])
        if x.model != "1":
            self.report.assumed.append(f"{x.element}: model={x.model} is taken as constant power")
        return {
            "name": x.element.name,
            "bus": self.names[bus],
            "phases": "".join(PHASE_NAMES[x.nodes[i]] for i in phases),
            "kw": x.kw,
            "power_factor": x.power_factor,
        }

    def _buses(self, vn: Mapping[str, float], branches: list[dict[str, Any]]) -> pd.DataFrame:
        phases: dict[str, set[str]] = {}
        for b in branches:
            for end in ("from_bus", "to_bus"):
                phases.setdefault(b[end], set()).update(b["phases"])
        table = pd.DataFrame({"name": list(self.names.values()), "vn_kv": [vn[b] for b in self.names]})
        table["tier"] = np.where(table["vn_kv"] < 1.0, "LV", "MV")
        for i, column in enumerate(("v_min_pu", "v_max_pu")):
            table[column] = [self.band[t][i] for t in table["tier"]]
        table["phases"] = ["".join(sorted(phases.get(n, set("abc")))) for n in table["name"]]
        tier = dict(zip(table["name"], table["tier"], strict=True))
        table["feeder"] = table["name"].map(self._lv_feeders(branches, tier))
        source = self.elements.sources[0]
        held = source["pu"] * source["kv"] / vn[source["bus"].lower()]
        table["v_source_pu"] = [held if b == source["bus"].lower() else np.nan for b in self.names]
        return table

    def _lv_feeders(self, branches: list[dict[str, Any]], tier: Mapping[str, str]) -> dict[str, str]:
        """LV buses by LV feeder: named after the folder of its transformer, or after the transformer."""
        low = nx.Graph()
        low.add_nodes_from(n for n, t in tier.items() if t == "LV")
        heads = {}
        where = {x.element.name: x.element.where for x in self.elements.transformers}
        for b in branches:
            ends = {b["from_bus"], b["to_bus"]}
            if not b["closed"]:
                continue
            if all(tier[n] == "LV" for n in ends):
                low.add_edge(*ends)
            elif b["kind"] == "transformer":
                heads[next(n for n in ends if tier[n] == "LV")] = b["name"]
        folder = {t: Path(where[t].file).parent.name for t in heads.values()}
        if len(set(folder.values())) < len(folder):
            folder = {t: t for t in folder}
        return {bus: folder[heads[head]] for head in heads for bus in nx.node_connected_component(low, head)}


def _edge(x: Line | Transformer, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": x.element.name,
        "from_bus": names[x.buses[0].lower()],
        "to_bus": names[x.buses[1].lower()],
        "closed": x.closed,
    }


def _triangles(z: np.ndarray) -> dict[str, Any]:
    """Columns ``r_ohm`` and ``x_ohm``: numbers, or lower triangles as text; the small asymmetry of data is averaged."""
    if len(z) == 1:
        return {"r_ohm": float(z[0, 0].real), "x_ohm": float(z[0, 0].imag)}
    z = (z + z.T) / 2
    return {
        name: " | ".join(" ".join(f"{v:.9g}" for v in part[i, : i + 1]) for i in range(len(z)))
        for name, part in (("r_ohm", z.real), ("x_ohm", z.imag))
    }


def _openable(edges: list[Line | Transformer]) -> str:
    """Branches of a mesh that could be opened: switches where there are any, else lines."""
    switches = [e for e in edges if isinstance(e, Line) and e.switch]
    lines = [e for e in edges if isinstance(e, Line)]
    return shorten((f"{e.element.kind} {e.element.name!r} ({e.element.where})" for e in switches or lines or edges), 20)
