"""What mutations of input are made of: odd cells and texts, and small files that are valid."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

CELLS: tuple[Any, ...] = (
    *(
        None,
        pd.NA,
        pd.NaT,
        np.nan,
        np.inf,
        -np.inf,
        0,
        -1,
        1,
        1e-300,
        1e300,
        10**400,
        -0.0,
        2**63,
        True,
        "",
        " ",
        "nan",
    ),
    *(
        "1e400",
        "0x10",
        "1,5",
        "\u00b2",
        "a\0b",
        "\ud800",
        "x" * 300,
        b"x",
        1j,
        [1],
        {},
        Decimal("NaN"),
        np.float32(2),
        "2016",
    ),
    *(
        pd.Timestamp("2030-01-07"),
        pd.Timestamp("2030-01-07", tz="UTC"),
        "05/06/2016",
        "2030-01-07T00:00Z",
        "abc",
        "a",
        "pos",
    ),
    *("0.1 | 0 0.1", "ann", "src", "end", "import", "line", np.int8(5), object(), 1e15, "true", "inf", "-"),
)
KINDS = ("object", "category", "string", "bool", "complex", "float32", "Float64", "str", "int64", "datetime64[ns]")
TOKENS = (
    *(
        "",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "\\",
        "!",
        "%",
        "%{",
        "%}",
        "...",
        ";",
        ",",
    ),
    *(
        "~",
        "=",
        "/*",
        "*/",
        "\0",
        "\u00e9",
        "\ufeff",
        "\t",
        "new",
        "edit",
        "more",
        "like=",
        "bus1=",
        "phases=0",
        "kv=0",
    ),
    *(
        "units=km",
        "length=0",
        "rmatrix=(1|2 3)",
        "redirect x",
        "clear",
        "solve",
        "set",
        "select",
        "batchedit line..* r1=0",
    ),
    *(
        "mpc.bus",
        "mpc.branch",
        "end",
        "end;",
        "for i=1:3",
        "zeros(3)",
        "1/0",
        "2^1024",
        "a.b.c",
        "@",
        "1:3",
        "''",
        "9" * 400,
    ),
)
DSS = """clear
new circuit.t basekv=11 bus1=s pu=1.02
new linecode.c nphases=3 r1=0.3 x1=0.1 r0=0.6 x0=0.3 units=km normamps=99
new transformer.d phases=3 windings=2 buses=(s b) conns=(delta wye) kvs=(11 0.4) kvas=(100 100) xhl=4 %loadloss=1
new line.a bus1=b bus2=c linecode=c length=100 units=m
new line.e bus1=c.1 bus2=e.1 phases=1 r1=0.3 x1=0.1 r0=0.3 x0=0.1 length=0.1 units=km normamps=99
~ switch=n
new load.l bus1=c.2 phases=1 kv=0.23 kw=1 pf=0.95
new load.m bus1=e.1 phases=1 kv=0.23 kw=2 kvar=0.5
set voltagebases=[11 0.4]
calcvoltagebases
solve
"""
MATPOWER = """function mpc = t
mpc.version = '2';
mpc.baseMVA = 10;
mpc.bus = [
  1 3 0 0 0 0 1 1 0 11 1 1.1 0.9;
  2 1 0.1 0.02 0 0 1 1 0 11 1 1.1 0.9;
  3 1 0.2 0.05 0 0.01 1 1 0 11 1 1.1 0.9; % a comment
];
mpc.gen = [1 0 0 10 -10 1 100 1 10 0];
mpc.branch = [
  1 2 0.05 0.02 0 5 0 0 0 0 1 -360 360;
  2 3 0.05 0.02 0.001 5 0 0 0 0 1 -360 360;
];
mpc.bus(:, 3) = mpc.bus(:, 3) * 1.0;
"""
