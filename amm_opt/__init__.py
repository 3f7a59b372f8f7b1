"""Compare how scarce distribution-network capacity is shared: envelopes, markets and fairness over time."""

from amm_opt.cases import Case, Scenario, Window, from_tables, load_case, save_case
from amm_opt.cases.importers import ImportedNetwork, ImportReport, YearScenario, from_opendss, year_case
from amm_opt.errors import AmmOptError, InputError, SolveError
from amm_opt.market import Allocation, FairnessState, Mechanism, PriceCurve, State, deficits
from amm_opt.network import Feeder, LinDist3Flow, LinDistFlow
from amm_opt.simulate import Run, simulate
from amm_opt.solve import DIRECTIONS, Injection, Leximin, Program, Solution, Step
from amm_opt.study import Comparison, compare

__version__ = "0.1.0"

__all__ = [
    "DIRECTIONS",
    "Allocation",
    "AmmOptError",
    "Case",
    "Comparison",
    "FairnessState",
    "Feeder",
    "ImportReport",
    "ImportedNetwork",
    "Injection",
    "InputError",
    "Leximin",
    "LinDist3Flow",
    "LinDistFlow",
    "Mechanism",
    "PriceCurve",
    "Program",
    "Run",
    "Scenario",
    "Solution",
    "SolveError",
    "State",
    "Step",
    "Window",
    "YearScenario",
    "compare",
    "deficits",
    "from_opendss",
    "from_tables",
    "load_case",
    "save_case",
    "simulate",
    "year_case",
]
