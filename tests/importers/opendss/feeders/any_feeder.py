"""Random feeders over what the OpenDSS importer reads, and their largest error against OpenDSS."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from opendss_truth import solve

from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, from_opendss
from tests.importers.opendss.test_opendss_random import voltages

STATED_PU = 1e-3
NAMED = re.compile(r"(Master\d+\.dss:\d+: |mesh: |island: )")
KV = 12.47
DATA = """new linecode.seq nphases=3 units=km r1=0.25 x1=0.3 r0=0.6 x0=0.9 c1=10 c0=5 normamps=300
new linecode.mat nphases=3 units=mi normamps=300 rmatrix=[0.4|0.1 0.41|0.1 0.1 0.4] xmatrix=[0.9|0.4 .9|0.3 0.4 0.9]
~ cmatrix=[14|-4 14|-3 -2 13]
new linecode.one nphases=1 units=kft r1=0.2 x1=0.15 r0=0.2 x0=0.15 c1=3 c0=3 normamps=100
new linecode.tpx nphases=2 units=km rmatrix=[.9 | .3 .9] xmatrix=[.7 | .4 .7] cmatrix=[9 | -3 9] normamps=150
new wiredata.bare rac=0.27 runits=km gmrac=7.4 gmrunits=mm diam=19 radunits=mm normamps=300
new wiredata.thin rdc=0.9 runits=mi radius=0.15 radunits=in normamps=120
new cndata.cn runits=km radunits=cm gmrunits=mm inslayer=0.45 diains=2.1 diacable=2.8 rac=0.6 gmrac=3.4 diam=0.93
~ rstrand=2.55 diastrand=0.065 k=9 normamps=210
new linespacing.pole nconds=4 nphases=3 units=m x=[-1.1 0 1.3 0.1] h=[10 10.4 10 8]
new linegeometry.g nconds=4 nphases=3 spacing=pole wires=[bare bare bare thin] reduce=y
new linegeometry.u nconds=3 nphases=3 cond=1 cncable=cn x=-7 h=-36 units=in cond=2 cncable=cn x=0 h=-36 cond=3
~ cncable=cn x=7 h=-36
"""
WRONG = (
    "new line.loop bus1=s bus2=y linecode=seq length=3\nnew line.back bus1=y bus2=b2 linecode=seq length=3",
    "new load.lost bus1=nowhere phases=3 kv=12.47 kw=9",
    "new line.l9 bus1=b1 bus2=x geometry=none length=1",
    "new transformer.w windings=4",
    "new transformer.w phases=1 buses=[b1.1.2 w.1.2] kvs=[12.47 .48]",
    "new capacitor.c1 bus1=b1 bus2=b2 kvar=9",
    "new load.w bus1=b1 phases=3 kv=(12.47/2) kw=1",
    "new indmach012.m bus1=b1 kv=12.47",
    "new line.w like=l1\n~ bus1=b1 bus2=w",
    "edit linecode.seq nphases=0",
    "new reactor.w bus1=b1 kvar=9 rp=4",
)


@dataclass
class AnyFeeder:
    """One feeder as text; ``wrong`` says whether it has something that is to be refused.

    Attributes:
        floats: buses without ground, where what is between phases counts.
    """

    seed: int
    wrong: bool = False
    floats: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.pick = random.Random(self.seed)
        self.out = ["clear", "set defaultbasefrequency=60"]
        pu = self.pick.choice(["1.0", "1.03", "(1 0.02 +)"])
        self.out.append(f"new circuit.any basekv={KV} pu={pu} bus1=s model=ideal puzideal=[1e-8 1e-6]")
        model = self.pick.choice(["", "", "carson", "full"])
        self.spacing = not model
        self.out += [f"set earthmodel={model}"] * bool(model) + DATA.splitlines()
        buses = ["s"]
        for i in range(1, self.pick.randint(3, 6)):
            self.trunk(i, self.pick.choice(buses[-2:]))
            buses.append(f"b{i}")
        for i in range(self.pick.randint(2, 5)):
            self.branch(i, self.pick.choice(buses[1:]))
        for i in range(self.pick.randint(2, 5)):
            self.load(f"m{i}", self.pick.choice(buses[1:]), KV, self.pick.uniform(50, 600))
        self.out += self.pick.choice([[], ["set loadmult=0.7"], ["load.m0.model=2"], ["edit load.m0 kw=77"]])
        self.wrong = self.pick.random() < 0.25
        if self.wrong:
            self.out.append(self.pick.choice(WRONG))
        self.out += ["set voltagebases=[12.47 4.16 0.48 0.208]", "set maxcontroliter=100"]

    @property
    def text(self) -> str:
        """The file."""
        return "\n".join(self.out) + "\n"

    def trunk(self, i: int, start: str) -> None:
        ends, km = f"bus1={start} bus2=b{i}", self.pick.uniform(0.3, 2.5)
        if i > 1 and self.pick.random() < 0.35:
            self.regulator(i, start)
            return
        ways = [
            f"new line.l{i} {ends} linecode={self.pick.choice(['seq', 'mat'])} length={km:.4g} units=km",
            f"new line.l{i} {ends} geometry={self.pick.choice('gu')} units=kft length=({km:.4g} 3.28 *)",
            f"new line.l{i} {ends} geometry=g length={1000 * km:.5g} rho=100",
            f"new line.l{i} {start} b{i} seq {km:.4g} units=km\n~ emergamps=400",
            f"new reactor.l{i} {ends} phases=3 r=0.1 x={km:.3g}",
            f"new line.l{i} {ends} switch=y",
        ]
        if self.spacing:
            ways.append(f"new line.l{i} {ends} spacing=pole wires=(bare, bare, bare, thin) length={km:.4g} units=km")
        self.out.append(self.pick.choice(ways))

    def regulator(self, i: int, start: str) -> None:
        each = self.pick.random() < 0.6
        for p in "123" if each else [""]:
            at, (phases, kv) = f".{p}" if each else "", (1, 7.2) if each else (3, KV)
            tap = 1 + self.pick.randint(-6, 6) * 0.00625
            self.out.append(
                f"new transformer.r{i}{p} phases={phases} buses=[{start}{at} b{i}{at}] kvs=[{kv} {kv}] xhl=.1 %r=.01"
                f" kvas='9000 9000' taps=(1, {tap})"
            )
            if self.pick.random() < 0.8:
                ldc = self.pick.choice(["", "r=2 x=4 ctprim=300"])
                self.out.append(
                    f"new regcontrol.r{i}{p} transformer=r{i}{p} winding=2 vreg={self.pick.randint(118, 123)} band=3"
                    f" ptratio=60 delay={self.pick.choice([15, 30])} {ldc}"
                )

    def branch(self, i: int, start: str) -> None:
        kv, end = KV, "vminpu=.7 vmaxpu=1.3"
        kind = self.pick.choice(["lateral", "dyn", "dd", "service", "shunt", "yy"])
        if kind == "lateral":
            p = self.pick.choice("123")
            self.out.append(f"new line.k{i} {start}.{p} k{i}.{p} one {self.pick.uniform(1, 5):.4g} units=kft")
            self.out.append(f"new load.k{i} bus1=k{i}.{p} phases=1 kv=7.2 kw=120 pf=.93 vminpu=.7 vmaxpu=1.3")
        elif kind in ("dyn", "dd", "yy"):
            conns = {"dyn": "[delta wye]", "dd": "(delta delta)", "yy": '"wye ln"'}[kind]
            self.out.append(
                f"new transformer.t{i} buses=[{start} t{i}] conns={conns} kvs=[{kv} .48] kvas=[500 500] xhl=4"
                f" %rs=[.5 .6] %noloadloss=.2 %imag={self.pick.choice('01')}"
                f" leadlag={self.pick.choice(('lag', 'lead'))}"
            )
            if kind == "dd":
                self.floats.add(f"t{i}")
            for n in range(2):
                self.load(f"t{i}{n}", f"t{i}", 0.48, self.pick.uniform(10, 90), between=kind == "dd")
        elif kind == "service":
            p = self.pick.choice("123")
            self.out += [
                f"new transformer.v{i} phases=1 windings=3 kvs=[7.2 .12 .12] kvas=[50 50 50] %rs=[.6 1.2 1.2] xhl=2.04"
                f" xht=2.04 xlt=1.36 buses=[{start}.{p} v{i}.1.0 v{i}.0.2]",
                f"new line.v{i} bus1=v{i}.1.2 bus2=h{i}.1.2 linecode=tpx length=0.02 units=km",
                f"new load.v{i} phases=1 bus1=h{i}.1.2 kv=.24 kw={self.pick.randint(2, 20)} pf=.95 {end}",
            ]
        else:
            kind, kvar = self.pick.choice([("capacitor", 300), ("reactor", 99)])
            self.out.append(f"new {kind}.c{i} bus1={start} phases=3 kv={KV} kvar={kvar}")

    def load(self, name: str, bus: str, kv: float, kw: float, between: bool = False) -> None:
        pairs = [f"bus1={bus}.{n} phases=1 kv={kv}" for n in ("1.2", "2.3", "3.1", "2.1")]
        ways = [*pairs, f"bus1={bus} phases=3 conn=delta kv={kv}", f"bus1={bus}.1.2.3 phases=2 conn=delta kv={kv}"]
        if not between:
            ways = ways[2:] + [f"bus1={bus}.{n} phases=1 kv={kv / 3**0.5:.6g}" for n in "123"] + [f"bus1={bus} kv={kv}"]
        model = self.pick.choice(["", "", "model=2", "model=5", "model=8 zipv=[.2 .3 .5 .6 .3 .1 0]"])
        self.out.append(f"new load.{name} {self.pick.choice(ways)} kw={kw:.4g} pf=.92 {model} vminpu=.7 vmaxpu=1.3")


def judged(feeder: AnyFeeder, folder: Path) -> float | tuple[str, ...]:
    """Largest error in pu of a feeder, with controls and load models; or why it is refused."""
    master = folder / f"Master{feeder.seed}.dss"
    master.write_text(feeder.text)
    try:
        network = from_opendss(master, load_voltage_pu="solved", regulators="set_point")
    except InputError as error:
        return error.problems
    return largest_error(network, solve(master, frequency=60.0).volts, feeder.floats)


def largest_error(network: ImportedNetwork, truth: dict[str, complex], floats: set[str]) -> float:
    """Of phases; without ground of what is between them; on two legs of their mean."""
    ours = voltages(network)
    kv, errors = network.buses.set_index("name")["vn_kv"], [0.0]
    for (bus, node), v in ours.items():
        base = 1000 * kv[bus]
        if bus in floats:
            other = node % 3 + 1
            volt = abs(truth[f"{bus}.{node}"] - truth[f"{bus}.{other}"]) / base
            errors.append(abs(abs(v - ours[bus, other]) / 3**0.5 - volt))
        elif kv[bus] < 0.3:
            errors.append(abs(abs(v) - abs(truth[f"{bus}.1"] - truth[f"{bus}.2"]) / 2 / base * 3**0.5))
        else:
            errors.append(abs(abs(v) - abs(truth[f"{bus}.{node}"]) / base * 3**0.5))
    return float(max(errors))
