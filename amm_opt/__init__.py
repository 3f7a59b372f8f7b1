"""Compare how scarce distribution-network capacity is shared: envelopes, markets and fairness over time."""

import logging

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case, Requests, Scenario, from_tables, load_case, save_case
from amm_opt.errors import (
    AmmOptError,
    InexactWarning,
    InputError,
    OutputError,
    SolveError,
    UnavoidableWarning,
)
from amm_opt.grid import Grid
from amm_opt.importers import (
    Households,
    ImportedNetwork,
    ImportReport,
    YearScenario,
    from_matpower,
    from_opendss,
    from_pandapower,
    from_simbench,
    import_network,
    read_ausgrid,
    year_case,
)
from amm_opt.market import Allocation, FairnessState, Mechanism, PriceCurve, State, deficits
from amm_opt.network import (
    ACNetwork,
    BranchFlowSOCP,
    ConicNetworkModel,
    DCFlow,
    Feeder,
    LinDist3Flow,
    LinDistFlow,
    NetworkModel,
    NetworkState,
    Quantities,
)
from amm_opt.program import HorizonProgram, Injection, Leximin, Program, Solution
from amm_opt.simulation import Column, FourWireNetwork, Run, load_run, open_run, simulate, verify
from amm_opt.study import Comparison, compare, load_comparison, open_comparison

logging.getLogger("amm_opt").addHandler(logging.NullHandler())

__version__ = "0.1.0"

__all__ = [
    "DIRECTIONS",
    "ACNetwork",
    "Allocation",
    "AmmOptError",
    "BranchFlowSOCP",
    "Case",
    "Column",
    "Comparison",
    "ConicNetworkModel",
    "DCFlow",
    "FairnessState",
    "Feeder",
    "FourWireNetwork",
    "Grid",
    "HorizonProgram",
    "Households",
    "ImportReport",
    "ImportedNetwork",
    "InexactWarning",
    "Injection",
    "InputError",
    "Leximin",
    "LinDist3Flow",
    "LinDistFlow",
    "Mechanism",
    "NetworkModel",
    "NetworkState",
    "OutputError",
    "PriceCurve",
    "Program",
    "Quantities",
    "Requests",
    "Run",
    "Scenario",
    "Solution",
    "SolveError",
    "State",
    "UnavoidableWarning",
    "YearScenario",
    "compare",
    "deficits",
    "from_matpower",
    "from_opendss",
    "from_pandapower",
    "from_simbench",
    "from_tables",
    "import_network",
    "load_case",
    "load_comparison",
    "load_run",
    "open_comparison",
    "open_run",
    "read_ausgrid",
    "save_case",
    "simulate",
    "verify",
    "year_case",
]


def __dir__() -> list[str]:
    """The public names; the rooms behind them are there for whoever imports them by name."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
