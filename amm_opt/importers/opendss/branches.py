"""Lines and transformers of a circuit as rows of the branches table."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.elements.component import PHASE_NAMES
from amm_opt.importers.opendss.elements.lines import Line, charging_kvar, reduced_neutral, split_conductors
from amm_opt.importers.opendss.elements.neutral import idle_neutrals, star_resistances
from amm_opt.importers.opendss.elements.parallel import Conductor, side_by_side, triangles
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.ratings import Rating, assumed_rating, guessed_rating
from amm_opt.importers.opendss.settings import GUESS, OTHERS, Settings
from amm_opt.importers.opendss.topology import Topology
from amm_opt.importers.report import ImportReport

LINK_METRES = 2.0
"""Lines up to this length are busbar links: they get no assumed rating."""
SOLID_OHM = 1.0
"""A neutral counts as grounded where its grounding has at most this resistance."""


class Branches:
    """Makes the rows; what is wrong goes to ``problems``, and what is assumed to the report.

    Attributes:
        reductions: how many lines had their neutral reduced in which way.
        returning: buses, in lower case, whose neutral carries return current.
        stars: ohm between star point and neutral by transformer.
        used_ratings: line code, A and metres by the source of the rating.
    """

    def __init__(
        self, elements: Elements, topology: Topology, settings: Settings, problems: list[str], report: ImportReport
    ) -> None:
        self._elements, self._topology, self._settings = elements, topology, settings
        self._problems, self._report = problems, report
        self.used_ratings: dict[str, list[tuple[str, float, float]]] = {}
        self._unrated: dict[str, list[Line]] = {}
        self.reductions: Counter[str] = Counter()
        self.returning: set[str] = set()
        e = elements
        kron = settings.neutral == "kron"
        self.stars = {} if kron else star_resistances(e.transformers, e.lines, e.loads, e.grounding)
        self._idle_neutrals = idle_neutrals(e.lines, e.loads, e.grounding)

    def _edge(self, x: Line | Transformer) -> dict[str, Any]:
        start, stop = (self._topology.names[b.lower()] for b in x.buses)
        return {"name": x.element.name, "from_bus": start, "to_bus": stop, "closed": x.closed}

    def lines(self) -> list[tuple[Line, dict[str, Any]]]:
        """Rows of all lines; closed ones between the same buses become one."""
        single = [(x, c) for x in self._elements.lines if (c := self._conductor(x))]
        self._say_unrated()
        between: dict[frozenset[str], list[tuple[Line, Conductor]]] = {}
        for x, conductor in single:
            if x.closed:
                between.setdefault(frozenset(b.lower() for b in x.buses), []).append((x, conductor))
        rows: list[tuple[Line, Conductor]] = []
        merged: set[int] = set()
        for group in between.values():
            if len(group) < 2 or not self._topology.only_lines(group[0][0]):
                continue
            try:
                together = side_by_side([conductor for _, conductor in group])
            except np.linalg.LinAlgError:
                continue
            self._topology.keep_first([x for x, _ in group])
            self._report.assumed.append(f"lines side by side are one branch: {together.name}")
            rows.append((group[0][0], together))
            merged.update(id(x) for x, _ in group)
        rows = [*((x, c) for x, c in single if id(x) not in merged), *rows]
        return [(x, self._line_row(x, conductor)) for x, conductor in rows]

    def _line_row(self, x: Line, conductor: Conductor) -> dict[str, Any]:
        base = self._topology.vn_kv.get(x.buses[0].lower(), 0.4)
        rating = {"rating_kva": conductor.amps * base / math.sqrt(3)}
        return {**self._edge(x), "name": conductor.name, **conductor.columns, **rating}

    def _conductor(self, x: Line) -> Conductor | None:
        phases, neutrals = split_conductors(x.nodes[0])
        named = [x.nodes[0][i] for i in phases]
        if not phases or len(set(named)) != len(named):
            self._problems.append(f"{x.element}: nodes {x.nodes[0]} are not distinct phases 1 to 3")
            return None
        if named != [x.nodes[1][i] for i in phases] or any(x.nodes[1][i] in PHASE_NAMES for i in neutrals):
            self._problems.append(f"{x.element}: unsupported: its phases change places between its ends")
            return None
        if len(neutrals) > 1:
            self._problems.append(f"{x.element}: unsupported: {len(neutrals)} neutral conductors")
            return None
        how = self._settings.neutral if neutrals else "none"
        if how == "auto":
            ends = zip(x.buses, x.nodes, strict=True)
            how = "kron" if all(self._solid(b, n[neutrals[0]]) for b, n in ends) else "return"
        if how == "return" and x.buses[0].lower() in self._idle_neutrals:
            how = "idle"
        self.reductions[how] += 1
        if how == "return":
            self.returning.update(b.lower() for b in x.buses)
        z = reduced_neutral(x.z_ohm, phases, neutrals, how)
        order = np.argsort(named)
        base = self._topology.vn_kv.get(x.buses[0].lower(), 0.4)
        charging = charging_kvar(x.c_nf, phases, base, self._elements.frequency)[order]
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
        return node == 0 or self._elements.grounding.get(bus.lower(), math.inf) <= SOLID_OHM

    def _amps(self, x: Line) -> float | None:
        """Ampacity: the caller's, the file's, none for switches and links, the caller's for others, the catalogue's."""
        label = x.code or x.element.name
        own, others = (self._settings.ratings.get(name) for name in (label.lower(), OTHERS))
        rating: Rating | None
        if own is None and x.amps is not None:
            if not x.amps > 0:
                self._problems.append(f"{x.element}: normamps = {x.amps} must be positive")
                return None
            rating = Rating(x.amps, label, "normamps of the file")
        elif own is None and (x.switch or x.metres <= LINK_METRES):
            rating = Rating(math.inf, label, f"assumed: switch, or link of at most {LINK_METRES:g} m, without limit")
        else:
            given = others if own is None else own
            rating = assumed_rating(label) if given is None else self._given(x, label, given)
        if rating is None:
            self._unrated.setdefault(label, []).append(x)
            return None
        self.used_ratings.setdefault(rating.source, []).append((label, rating.amps, x.metres))
        return rating.amps

    def _given(self, x: Line, label: str, amps: float | str) -> Rating | None:
        if isinstance(amps, str):
            return guessed_rating(label, x.ohm_per_km)
        return Rating(float(amps), label, "given by the caller")

    def _say_unrated(self) -> None:
        """One problem for each conductor without a rating, and last what to pass for all of them."""
        guesses = {}
        for label, lines in self._unrated.items():
            more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
            metres = math.fsum(x.metres for x in lines)
            self._problems.append(
                f"{lines[0].element}{more}: missing rating: no normamps, and {label!r} ({metres:,.0f} m) is not in the"
                " catalogue"
            )
            guess = guessed_rating(label, lines[0].ohm_per_km)
            guesses[label] = "A" if guess is None else f"{guess.amps:g}"
        if guesses:
            listed = ", ".join(f"{label!r}: {amps}" for label, amps in guesses.items())
            self._problems.append(
                f"pass ratings={{{listed}}} with your own figures (these are guesses from resistance), ratings=A for"
                f" all of them, or ratings={GUESS!r} to take the guesses"
            )

    def transformers(self) -> list[tuple[Transformer, dict[str, Any]]]:
        """Rows of all transformers."""
        return [(x, b) for x in self._elements.transformers if (b := self._transformer(x))]

    def _transformer(self, x: Transformer) -> dict[str, Any] | None:
        group = {("wye", "wye"): "YNyn0", ("delta", "wye"): "Dyn11" if x.lead else "Dyn1"}.get(x.conns)
        nodes = [[n for n in side[: x.phases] if n in PHASE_NAMES] for side in x.nodes]
        distinct = len(set(nodes[0])) == x.phases
        if group is None or not distinct or nodes[0] != nodes[1] or (group != "YNyn0" and nodes[0] != [1, 2, 3]):
            self._problems.append(
                f"{x.element}: unsupported element: connection {'-'.join(x.conns)} on nodes {x.nodes[0]} and"
                f" {x.nodes[1]}; supported are wye-wye on the same phases and three-phase delta-wye"
            )
            return None
        delta, wye = (self._topology.depth.get(b.lower(), 0) for b in x.buses)
        if group != "YNyn0" and delta > wye:
            self._problems.append(f"{x.element}: unsupported element: connection wye-delta, fed from its wye side")
            return None
        reactance = x.xhl * (100.0 if self._settings.xhl == "per_unit" else 1.0)
        one = 3.0 / x.phases if x.phases < 3 else 1.0
        kv = x.kv[1] * x.taps[1] * (math.sqrt(3) if x.phases == 1 else 1.0)
        z = complex(x.r_percent, reactance) / 100.0 * kv**2 * 1000.0 / (x.kva * one)
        matrix = np.asarray(z * np.eye(x.phases) + self.stars.get(x.element.name, 0.0), dtype=np.complex128)
        up, down = (self._topology.vn_kv.get(b.lower(), k) for b, k in zip(x.buses, x.kv, strict=True))
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
