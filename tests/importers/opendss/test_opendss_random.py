"""Random small feeders that mix constructs: imported as OpenDSS solves them, or refused by name and line."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import Truth, solve

from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, from_opendss
from amm_opt.network import LinDist3Flow

FEEDERS = 64
TOLERANCE_PU = 1e-4
CODES = """new linecode.seq nphases=3 units=km r1=0.25 x1=0.2 r0=0.6 x0=0.7 c1=12 c0=5 normamps=300
new linecode.plain r1=0.09 x1=0.08 r0=0.2 x0=0.25 c1=3 c0=2 units=kft normamps=250
new linecode.mat nphases=3 units=mi normamps=300 rmatrix=[0.4|0.1 0.41|0.1 0.1 0.4] xmatrix=[0.5|0.2 .5|0.2 0.2 0.5]
~ cmatrix=[20|-3 21|-3 -2 20]
new linecode.krn nphases=4 units=km normamps=300 rmatrix=[.3|.1 .3|.1 .1 .3|.1 .1 .1 .4]
~ xmatrix=[.3|.1 .3|.1 .1 .3|.1 .1 .1 .4] cmatrix=[9|-1 9|-1 -1 9|-1 -1 -1 9] kron=yes
new linecode.one nphases=1 units=km r1=0.3 x1=0.2 r0=0.3 x0=0.2 c1=8 c0=8 normamps=100
"""
REFUSED = (
    "new generator.g bus1={bus} phases=3 kv={kv} kw=-10",
    "new reactor.x bus1={bus} phases=3 kv={kv} kvar=10 rp=100",
    "new load.ll bus1={bus}.1.2 phases=2 conn=delta kv={kv} kw=5",
    "new line.loop bus1=b0 bus2={bus} linecode=seq length=0.2 units=km",
    "allocateloads",
    "new load.lost bus1=nowhere phases=3 kv={kv} kw=5",
    "new fuse.f monitoredobj=line.l1 state=[open closed closed]",
    "new line.geo bus1={bus} bus2=geo geometry=g length=1",
    "new linecode.bad nphases=3 r1=0.1 rmatrix=[1|0 1|0 0 1]",
    "new transformer.three phases=3 windings=3 buses=[{bus} x y]",
    "open line.l1 1 2",
)


class Writer:
    """One feeder as text: a tree of 11 kV, perhaps with a transformer to 0.4 kV and more lines."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.text = ["clear", "set defaultbasefrequency=50"]
        pu = self.pick.choice([1.0, 1.02, "(1 0.01 +)"])
        self.text.append(f"new circuit.random basekv=11 pu={pu} bus1=b0 model=ideal")
        self.text += CODES.splitlines()
        self.kv, self.phases = {"b0": 11.0}, {"b0": "123"}
        for i in range(1, self.pick.randint(2, 4)):
            self.line(i, self.pick.choice([b for b, p in self.phases.items() if p == "123"]))
        if self.pick.random() < 0.7:
            self.transformer()
            for i in range(6, 6 + self.pick.randint(1, 3)):
                self.line(i, self.pick.choice([b for b, v in self.kv.items() if v < 1 and self.phases[b] == "123"]))
        for i in range(self.pick.randint(2, 5)):
            self.load(i, self.pick.choice(list(self.kv)))
        if self.pick.random() < 0.5:
            self.capacitor(self.pick.choice([b for b in self.kv if self.kv[b] > 1]))
        self.text += self.pick.sample(self.switching(), self.pick.randint(0, 2))
        if self.pick.random() < 0.3:
            self.text.append(f"set loadmult={self.pick.choice([0.5, 0.8])}")
        self.refused = self.pick.random() < 0.3
        if self.refused:
            bus = self.pick.choice([b for b, p in self.phases.items() if p == "123"])
            self.text.append(self.pick.choice(REFUSED).format(bus=bus, kv=self.kv[bus]))
        self.text += ["set voltagebases=[11 0.4]", "calcvoltagebases", "solve"]

    def line(self, i: int, start: str) -> None:
        bus, scale = f"b{i}", 0.05 if self.kv[start] < 1 else 1.0
        self.kv[bus], self.phases[bus] = self.kv[start], "123"
        code, km = self.pick.choice(["seq", "plain", "mat", "krn"]), scale * self.pick.uniform(0.2, 1.5)
        nodes = self.pick.choice(["", ".1.2.3", ".1.2.3.0"])
        ends = f"bus1={start}{nodes} bus2={bus}{nodes}"
        ways = [
            f"{ends} linecode={code} length={km:.5g} units=km",
            f"{ends} units=m length={1000 * km:.5g} linecode={code}",
            f"linecode={code} {ends} length={km / 1.609344:.6g} units=mi normamps=123",
            f"{ends} phases=3 r1=0.3 x1=0.25 r0=0.5 x0=0.7 c1=10 c0=4 units=km length={km:.5g} normamps=300",
            f"{ends} length={km:.5g} units=km linecode={code} r1=(0.6 2 /)",
            f"{ends} linecode={code} length={km:.5g} units=km rmatrix=[.5|.1 .5|.1 .1 .5]",
            f"{ends} b1=3 b0=2 r1=0.3 x1=0.25 r0=0.5 x0=0.7 length={km:.5g} units=km normamps=300",
            f"{ends} r1=0.3 x1=0.25 r0=0.5 x0=0.7 units=km length={km:.5g} normamps=300",
            f"{ends} switch=y",
        ]
        if self.pick.random() < 0.25:
            phase = self.pick.choice("123")
            self.phases[bus] = phase
            ways = [f"bus1={start}.{phase} bus2={bus}.{phase} linecode=one length={km:.5g} units=km"]
        self.text.append(
            f"new line.l{i} {self.pick.choice(ways)}" + self.pick.choice(["", "\n~ emergamps=400 seasons=1"])
        )
        if self.pick.random() < 0.2:
            self.text.append(
                f"line.l{i}.length={km * 0.7:.5g}" if "linecode" in self.text[-1] else f"edit line.l{i} enabled=y"
            )

    def transformer(self) -> None:
        start = self.pick.choice([b for b, p in self.phases.items() if p == "123"])
        self.kv["b5"], self.phases["b5"] = 0.4, "123"
        conn, taps = self.pick.choice(["delta", "wye"]), self.pick.choice(["1 1", "1.025 1", "1 1.05", "0.975 1.02"])
        ways = [
            f"buses=[{start} b5] conns=[{conn} wye] kvs=[11 0.4] kvas=[400 400] taps=[{taps}] xhl=4 %loadloss=1",
            f"wdg=1 bus={start} conn={conn} kv=11 kva=400 %r=0.4 wdg=2 bus=b5 conn=wye kv=0.4 %r=0.6 tap=1.02 xhl=5",
            f"phases=3 windings=2 xhl=4 buses=({start} b5) conns='{conn} wye' kvs=(11 0.4) kvas=(400 315) %rs=[.5 .7]",
            f"buses=[{start} b5] conns=[{conn} ln] kvs=[11 0.4] kva=400 x12=6 %noloadloss=0.4 %imag=1.5 taps=[{taps}]",
        ]
        self.text.append(f"new transformer.t {self.pick.choice(ways)} leadlag={self.pick.choice(['lag', 'lead'])}")

    def load(self, i: int, bus: str) -> None:
        three = self.phases[bus] == "123" and self.pick.random() < 0.5
        kv, size = self.kv[bus], 20.0 if self.kv[bus] < 1 else 300.0
        node = self.phases[bus] if len(self.phases[bus]) == 1 else self.pick.choice("123")
        where = f"bus1={bus} phases=3 kv={kv}" if three else f"bus1={bus}.{node} phases=1 kv={kv / 3**0.5:.6g}"
        power = self.pick.choice(
            [f"kw={size} pf=0.9", f"kva={size} pf=-0.95", f"kw=0 kvar={-size / 2}", f"xfkva={2 * size}"]
        )
        extra = self.pick.choice(["", "status=fixed", "conn=wye", "numcust=3"])
        self.text.append(f"new load.x{i} {where} {power} {extra} vminpu=0.1 vmaxpu=2")
        self.text += self.pick.choice(
            [[], [], [f"edit load.x{i} pf=0.97"], [f"disable load.x{i}"], [f"new load.y{i} like=x{i} {where}"]]
        )

    def capacitor(self, bus: str) -> None:
        if self.phases[bus] == "123":
            how = self.pick.choice(["", "conn=delta", "numsteps=2 states=[1 0]"])
            self.text.append(f"new capacitor.c bus1={bus} phases=3 kv=11 kvar=300 {how}")
        else:
            self.text.append(f"new capacitor.c bus1={bus}.{self.phases[bus]} phases=1 kv={11 / 3**0.5:.6g} kvar=100")

    def switching(self) -> list[str]:
        tie = "new line.tie bus1=b0 bus2=b1 linecode=seq length=0.2 units=km"
        return [
            f"{tie}\nnew swtcontrol.s switchedobj=line.tie switchedterm=1 action=open",
            f"{tie}\nnew relay.s monitoredobj=line.tie state=open",
            f"{tie} enabled=no",
            f"{tie}\nopen line.tie 2",
            "new swtcontrol.n switchedobj=line.l1 switchedterm=2 normal=open state=closed",
            "new recloser.n monitoredobj=line.l1 state=closed phasetrip=1e9 groundtrip=1e9",
            "open line.l1 1\nnew swtcontrol.m switchedobj=line.l1 switchedterm=1 state=closed",
        ][:: self.pick.choice([1, -1])]


def voltages(network: ImportedNetwork) -> dict[tuple[str, int], complex]:
    """Of the import with its customers, in pu by bus and node."""
    people, model = network.customers, LinDist3Flow(network.feeder)
    at = model.incidence(
        np.array([network.feeder.bus_index[b] for b in people["bus"]], dtype=int), tuple(people["phases"])
    )
    u = model.power_flow(-(at @ people["kw"].to_numpy(float)), -(at @ people["kvar"].to_numpy(float)))
    return {(network.feeder.bus_names[b], int(p) + 1): v for b, p, v in zip(model.bus, model.phase, u, strict=True)}


def modelled(network: ImportedNetwork) -> dict[tuple[str, int], float]:
    return {place: abs(v) for place, v in voltages(network).items()}


def imported_or_refused(master: Path) -> ImportedNetwork | tuple[str, ...]:
    try:
        return from_opendss(master)
    except InputError as error:
        return error.problems


def worst_error(feeder: Writer, network: ImportedNetwork, truth: Truth) -> float:
    errors = [
        abs(v - abs(truth.volts[f"{bus}.{node}"]) / (1000 * feeder.kv[bus] / np.sqrt(3)))
        for (bus, node), v in modelled(network).items()
    ]
    return float(max(errors))


def test_random_feeders(tmp_path: Path) -> None:
    imported = refused = 0
    for seed in range(FEEDERS):
        feeder = Writer(seed)
        master = tmp_path / f"Master{seed}.dss"
        master.write_text("\n".join(feeder.text))
        network = imported_or_refused(master)
        if not isinstance(network, ImportedNetwork):
            refused += 1
            assert all(re.match(r"(Master\d+\.dss:\d+: |mesh: |island: )", said) for said in network), (seed, network)
            assert feeder.refused or any("tie" in line for line in feeder.text), (seed, network)
            continue
        assert not feeder.refused, (seed, "\n".join(feeder.text))
        imported += 1
        assert worst_error(feeder, network, solve(master)) < TOLERANCE_PU, (seed, "\n".join(feeder.text))
    assert imported >= FEEDERS // 2
    assert refused >= FEEDERS // 8


def test_random_feeders_with_a_load_between_phases(tmp_path: Path) -> None:
    """Which share each phase gives hangs on the voltages that the loads meet, for which the import solves."""
    judged = 0
    for seed in range(1000, 1020):
        feeder = Writer(seed)
        bus = [b for b, p in feeder.phases.items() if p == "123"][-1]
        nodes, kw = feeder.pick.choice(["1.2", "2.3", "3.1", "2.1"]), 20 if feeder.kv[bus] < 1 else 300
        load = f"new load.ll bus1={bus}.{nodes} phases=1 kv={feeder.kv[bus]} kw={kw} pf=0.9 vminpu=0.1 vmaxpu=2"
        if seed % 2:
            load = f"new load.d bus1={bus} conn=delta phases=3 kv={feeder.kv[bus]} kw={2 * kw} vminpu=0.1 vmaxpu=2"
        feeder.text.insert(-3, load)
        master = tmp_path / f"Master{seed}.dss"
        master.write_text("\n".join(feeder.text))
        network = imported_or_refused(master)
        if isinstance(network, ImportedNetwork):
            judged += 1
            left = 3e-4 if seed % 2 else TOLERANCE_PU  # nearly balanced delta loads stay one customer
            assert worst_error(feeder, network, solve(master)) < left, (seed, "\n".join(feeder.text))
    assert judged >= 8
