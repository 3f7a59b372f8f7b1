"""The report of an OpenDSS import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from amm_opt.errors import counted, shorten
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.commands.clock import CLOCKED, FOLLOWS
from amm_opt.importers.opendss.dialect.classes import FOLLOWED_OPTIONS
from amm_opt.importers.opendss.dialect.script import Script
from amm_opt.importers.opendss.elements.sources import Source
from amm_opt.importers.opendss.prepared.sources import BEHIND, JOINT
from amm_opt.importers.opendss.settings import HELD, SOLVED, Settings
from amm_opt.importers.report import ImportReport

Used = Mapping[str, list[tuple[str, float, float]]]
_NEUTRAL = {
    "none": "without neutral",
    "kron": "by Kron reduction: neutral grounded at both ends",
    "idle": "by leaving out the neutral: no load ends there, and at most one point grounds it",
    "return": "by neutral return: the neutral carries the whole return current",
}


def describe(
    report: ImportReport,
    script: Script,
    elements: Elements,
    settings: Settings,
    neutrals: Mapping[str, int],
    stars: Mapping[str, float],
    used: Used,
    buses: pd.DataFrame,
    branches: pd.DataFrame,
    customers: pd.DataFrame,
) -> None:
    """Fill the report."""
    report.read += _read(script, elements, buses, branches, customers)
    report.assumed = [
        *(f"{counted(count, 'line')} reduced {_NEUTRAL[how]}" for how, count in neutrals.items() if how != "none"),
        *_stars(stars),
        *_sources(elements, customers),
        *_transformers(elements, settings.xhl),
        *_automatic(elements, settings),
        *_ratings(used),
        *_bands(buses, settings.standard),
        *_loads(elements, customers),
        *_dependent(elements, settings),
        *_shunts(elements, buses, branches),
        *report.assumed,
        *elements.assumed,
        *script.remarks,
    ]
    report.left_out += _left_out(script, elements, settings, buses, branches, customers)


def _read(
    script: Script, elements: Elements, buses: pd.DataFrame, branches: pd.DataFrame, customers: pd.DataFrame
) -> Iterable[str]:
    kinds = branches["kind"][~branches["from_bus"].str.startswith(BEHIND)].value_counts()
    levels = buses["vn_kv"].value_counts().sort_index(ascending=False)
    yield counted(len(script.files), "file")
    yield f"{counted(len(buses), 'bus', 'buses')}: " + ", ".join(
        f"{count} at {kv:g} kV" for kv, count in levels.items()
    )
    yield f"{counted(kinds.get('line', 0), 'line')} and {counted(kinds.get('switch', 0), 'switch', 'switches')}"
    if units := [x for x in elements.transformers if not x.link]:
        total = sum(x.kva for x in units)
        own = branches["kind"].eq("transformer") & branches["from_bus"].ne(JOINT)
        groups = branches.loc[own, "vector_group"].value_counts()
        listed = ", ".join(f"{count} {group}" for group, count in groups.items())
        off = sum(x.taps != (1.0, 1.0) for x in units)
        yield (
            f"{counted(len(units), 'transformer')} ({listed}), {total / 1000:.2f} MVA; {off} with taps away from"
            " 1, which are applied"
        )
    by_phase = customers["phases"].value_counts().sort_index()
    yield f"{counted(len(customers), 'load')}: " + ", ".join(f"{count} on {phase}" for phase, count in by_phase.items())
    if elements.capacitors:
        listed = shorten((f"{x.element.name} {x.kvar:g} kvar at {x.bus}" for x in elements.capacitors), 6)
        yield f"{counted(len(elements.capacitors), 'capacitor')} as shunts: {listed}"
    if elements.controls:
        held = [x.element.name for x in elements.controls if x.present]
        opened = f"; held open by {shorten(held)}" if held else ""
        yield f"{counted(len(elements.controls), 'switch control')}, whose states are followed{opened}"
    if elements.grounding:
        yield counted(len(elements.grounding), "neutral grounding")


def _sources(elements: Elements, customers: pd.DataFrame) -> Iterable[str]:
    for x in (x for x in elements.lines if x.element.kind == "vsource"):
        z = complex(x.z_ohm[0, 0] - (x.z_ohm[0, 1] if len(x.z_ohm) > 1 else 0.0))
        alone = elements.sources[0].bus == x.buses[0]
        yield (
            f"the source of bus {x.buses[1]!r} holds its voltage at {x.buses[0]!r}, behind its impedance of {z:.3g} ohm"
            f" per phase{': ' + _drop(z, elements.sources[0], customers) if alone else ''};"
            " source_impedance=False leaves it out"
        )


def _drop(z_ohm: complex, source: Source, customers: pd.DataFrame) -> str:
    """About by how much an impedance lowers the voltage, in pu."""
    drawn = complex(customers["kw"].sum(), customers["kvar"].sum())
    drop = (z_ohm * drawn.conjugate()).real / (1000.0 * source.kv**2)
    return f"it lowers the voltage by about {drop:.2g} pu at the file's own loads"


def _transformers(elements: Elements, xhl: str) -> Iterable[str]:
    read = [x.xhl * (100 if xhl == "per_unit" else 1) for x in elements.transformers if not x.link]
    if not read:
        return
    text = f"xhl read as {xhl}: short-circuit reactance {min(read):.3g} to {max(read):.3g} %"
    if max(read) < 0.5:
        text += "; so low a value may be per unit in a percent field (xhl='per_unit')"
    yield text


def _automatic(elements: Elements, settings: Settings) -> Iterable[str]:
    for kind, words in (
        ("regcontrol", "regulator controls: taps as they stand in the file"),
        ("capcontrol", "capacitor controls: capacitors as they stand in the file"),
    ):
        if kind == "regcontrol" and settings.regulators == HELD:
            continue
        if names := [x.element.name for x in elements.automatic if x.element.kind == kind]:
            yield f"{len(names)} {words}, which OpenDSS changes when it solves with controls: {shorten(names)}"


def _loads(elements: Elements, customers: pd.DataFrame) -> Iterable[str]:
    yield (
        "loads are constant power at any voltage (OpenDSS takes them as impedances outside vminpu to vmaxpu, 0.95 to"
        " 1.05 by default); customers on one phase are connected to the neutral"
    )
    if customers["phases"].str.len().eq(3).any():
        yield "loads on three phases are balanced"
    loose = customers[customers["inflexible_kvar"] != 0]
    if len(loose):
        yield (
            f"{counted(len(loose), 'load')} with (almost) no active power"
            f" {'is' if len(loose) == 1 else 'are'} constant reactive power (inflexible_kvar),"
            f" {loose['kvar'].sum():g} kvar: {shorten(loose['name'])}"
        )


def _dependent(elements: Elements, settings: Settings) -> Iterable[str]:
    """Loads that depend on the voltage, and what they would draw at the ends of the bands."""
    if settings.load_voltage_pu == SOLVED:
        yield "loads draw what they draw at the voltages of the file's own loads, which counts at all voltages"
        return
    ends = [f([band[i] for band in settings.bands.values()]) for i, f in ((0, min), (1, max))]
    for model in sorted({x.model for x in elements.loads} - {"1", "6"}):
        own = [x for x in elements.loads if x.model == model]
        at = [sum((x.at_voltage(pu) for x in own), 0j) for pu in (settings.load_pu, *ends)]
        taken, *others = (f"{s.real:.4g} kW and {s.imag:.4g} kvar" for s in at)
        yield (
            f"{counted(len(own), 'load')} of model {model} {'depends' if len(own) == 1 else 'depend'} on the voltage:"
            f" what is drawn at {settings.load_pu:g} pu of the load's kV, {taken}, counts at all"
            f" voltages; it would be {others[0]} at {ends[0]:.3g} pu and {others[1]} at {ends[1]:.3g} pu:"
            f" {shorten(x.element.name for x in own)}"
        )


def _shunts(elements: Elements, buses: pd.DataFrame, branches: pd.DataFrame) -> Iterable[str]:
    charging, kw, kvar = (
        _total(t[c]) for t, c in ((branches, "charging_kvar"), (buses, "shunt_kw"), (buses, "shunt_kvar"))
    )
    if charging:
        yield f"capacitance of lines feeds in {charging:.4g} kvar at nominal voltage ({elements.frequency:g} Hz)"
    if kw or kvar:
        yield f"shunts at nominal voltage draw {kw:.4g} kW and feed in {kvar:.4g} kvar (capacitors, idle transformers)"


def _total(column: pd.Series[object]) -> float:
    return sum(float(v) for text in column for v in str(text).split())


def _stars(stars: Mapping[str, float]) -> Iterable[str]:
    if stars:
        size = list(stars.values())
        yield (
            f"{counted(len(stars), 'star point')} joined to the neutral by its groundings: {min(size):.2g} to"
            f" {max(size):.2g} ohm, for equal single-phase loads"
        )


def _ratings(used: Used) -> Iterable[str]:
    for source, lines in used.items():
        listed: dict[tuple[str, float], list[float]] = {}
        for code, amps, metres in lines:
            listed.setdefault((code, amps), []).append(metres)
        if all(np.isinf(amps) for _, amps in listed):
            yield f"{counted(len(lines), 'line')}: {source}"
            continue
        parts = [
            f"{code} {amps:g} A ({counted(len(lengths), 'line')}, {np.nansum(lengths) / 1000:.2f} km)"
            for (code, amps), lengths in sorted(listed.items())
        ]
        yield f"ratings, {source}: " + ", ".join(parts)


def _bands(buses: pd.DataFrame, standard: str) -> Iterable[str]:
    by = f", by {standard}" if standard else ""
    for (tier, low, high, kv), group in buses.groupby(["tier", "v_min_pu", "v_max_pu", "vn_kv"]):
        volts = [1000 * kv * pu / (np.sqrt(3) if tier == "LV" else 1.0) for pu in (low, high)]
        what = "to neutral" if tier == "LV" else "between lines"
        some = counted(len(group), f"{tier} bus", f"{tier} buses")
        yield (
            f"voltage band of {some} at {kv:g} kV: {low:.4g} to {high:.4g} pu, {volts[0]:.0f} to {volts[1]:.0f} V"
            f" {what}{by}"
        )


def _left_out(
    script: Script,
    elements: Elements,
    settings: Settings,
    buses: pd.DataFrame,
    branches: pd.DataFrame,
    customers: pd.DataFrame,
) -> Iterable[str]:
    for what, count in script.left_out.items():
        yield f"{count} x {what}"
    for kind, names in script.commented.items():
        some = counted(len(names), "commented-out element")
        yield f"{some} of class {kind} (open ties?): {shorten(names, 4)}"
    opened = branches["name"][~branches["closed"].astype(bool)]
    if len(opened):
        yield f"{counted(len(opened), 'open branch', 'open branches')}, kept as open: {shorten(opened)}"
    if elements.disabled:
        yield f"{counted(len(elements.disabled), 'disabled element')}: {shorten(e.name for e in elements.disabled)}"
    if elements.opened:
        listed = shorten(map(str, elements.opened))
        yield f"loads, capacitors or reactors that are opened: {listed}"
    if elements.cut:
        yield elements.cut
    source = elements.sources[0]
    if not source.ideal and not source.bus.startswith(BEHIND):
        yield f"impedance of the source: its voltage is held; {_drop(source.z[1], source, customers)}"
    used = {("load", name) for name in ("vminpu", "vmaxpu", "vlowpu")} if settings.load_voltage_pu == SOLVED else set()
    unread = {key: n for key, n in elements.unread.items() if key not in used}
    for kind in sorted({k for k, _ in unread}):
        given = (f"{name} ({n})" for (k, name), n in unread.items() if k == kind)
        yield f"properties of {kind} elements that are not used: {shorten(given, 40)}"
    timed = (*CLOCKED, "mode") if elements.options.clock.mode in FOLLOWS else ()
    options = [f"{k}={v}" for k, v in script.options.items() if k not in (*FOLLOWED_OPTIONS, *timed)]
    if options:
        yield f"options that are not used: {shorten(options, 20)}"
    feeder_of = buses.set_index("name")["feeder"]
    busy = set(feeder_of.reindex(customers["bus"]).dropna())
    sizes = Counter(buses["feeder"].dropna())
    idle = [f for f in sizes if f not in busy]
    if idle:
        some = counted(len(idle), "LV feeder without customers", "LV feeders without customers")
        yield f"{some}, kept in the network: {shorten(idle)}"
    low = branches["to_bus"].map(feeder_of)
    heads = set(low[branches["kind"].eq("transformer")])
    for name in (f for f in idle if sizes[f] == 1 and f in heads):
        yield f"LV feeder {name} is a transformer without any line: its LV bus floats, with nothing connected"
