"""Compare how scarce distribution-network capacity is shared: envelopes, markets and fairness over time."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from amm_opt.plugins import HOMES

if TYPE_CHECKING:
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
    from amm_opt.exchange import Envelopes, envelopes, export_envelopes
    from amm_opt.grid import Grid
    from amm_opt.importers import (
        Households,
        ImportedNetwork,
        ImportReport,
        YearScenario,
        from_matpower,
        from_opendss,
        from_pandapower,
        from_rts_gmlc,
        from_simbench,
        import_network,
        read_ausgrid,
        year_case,
    )
    from amm_opt.io.progress import progress_bars
    from amm_opt.margins import AutoMargin, Margin
    from amm_opt.market import (
        Allocation,
        FairnessState,
        MarginalPrices,
        Mechanism,
        PriceCurve,
        Settlement,
        State,
        deficits,
    )
    from amm_opt.market.cost_recovery import CostRecovery, Product, recover_costs, subscriptions
    from amm_opt.market.shapley import (
        Clusters,
        NetworkGame,
        ShapleySpan,
        ShapleyValues,
        clusters,
        hosting,
        shapley,
        shapley_span,
    )
    from amm_opt.meters import FittedNetwork, MeterData, fit_network, read_meters, synthetic_meters
    from amm_opt.network import (
        ACNetwork,
        BranchFlowSOCP,
        Certified,
        ConicNetworkModel,
        DCFlow,
        Feeder,
        LinDist3Flow,
        LinDistFlow,
        Lossy,
        NetworkModel,
        NetworkState,
        Quantities,
    )
    from amm_opt.program import HorizonProgram, Injection, Leximin, Program, Solution
    from amm_opt.request_market import (
        BookingPlan,
        FairPlay,
        FlexibleRequest,
        HouseholdLoads,
        RequestProblem,
        RequestRun,
        generated_problem,
        read_household_loads,
        request_problem,
        split_household,
    )
    from amm_opt.robustness import (
        FitReport,
        Strategy,
        fit_report,
        gaming,
        replay_on,
        revealed,
        smallest_margin,
        violation_rates,
    )
    from amm_opt.simulation import (
        Column,
        Disaggregation,
        Measurement,
        PriceParts,
        Run,
        Sensitivity,
        certificates,
        cost_recovery,
        disaggregate,
        generator_worth,
        load_run,
        open_run,
        price_parts,
        simulate,
        verify,
    )
    from amm_opt.simulation.coupling import Coupled, coupled
    from amm_opt.studies import Sample, Study, StudyResult, open_study, read_study
    from amm_opt.studies.indices import Design, Indices, delta_indices, morris_indices, sobol_indices
    from amm_opt.study.compare import compare
    from amm_opt.study.comparison import Comparison, load_comparison, open_comparison
    from amm_opt.study.report.page import save_report
    from amm_opt.study.solvers import SolverComparison, compare_solvers
    from amm_opt.verification.four_wire import FourWireNetwork

logging.getLogger("amm_opt").addHandler(logging.NullHandler())

__version__ = "0.1.0"

HOMES.update(
    Case="amm_opt.pictures.accessors:CasePictures",
    Run="amm_opt.pictures.accessors:RunPictures",
)

_HOME = {
    "amm_opt.arrays": ("DIRECTIONS",),
    "amm_opt.cases": ("Case", "Requests", "Scenario", "from_tables", "load_case", "save_case"),
    "amm_opt.errors": (
        "AmmOptError",
        "InexactWarning",
        "InputError",
        "OutputError",
        "SolveError",
        "UnavoidableWarning",
    ),
    "amm_opt.exchange": ("Envelopes", "envelopes", "export_envelopes"),
    "amm_opt.grid": ("Grid",),
    "amm_opt.importers": (
        "Households",
        "ImportedNetwork",
        "ImportReport",
        "YearScenario",
        "from_matpower",
        "from_opendss",
        "from_pandapower",
        "from_rts_gmlc",
        "from_simbench",
        "import_network",
        "read_ausgrid",
        "year_case",
    ),
    "amm_opt.io.progress": ("progress_bars",),
    "amm_opt.margins": ("AutoMargin", "Margin"),
    "amm_opt.market": (
        "Allocation",
        "FairnessState",
        "MarginalPrices",
        "Mechanism",
        "PriceCurve",
        "Settlement",
        "State",
        "deficits",
    ),
    "amm_opt.market.shapley": (
        "Clusters",
        "NetworkGame",
        "ShapleySpan",
        "ShapleyValues",
        "clusters",
        "hosting",
        "shapley",
        "shapley_span",
    ),
    "amm_opt.market.cost_recovery": ("CostRecovery", "Product", "recover_costs", "subscriptions"),
    "amm_opt.meters": ("FittedNetwork", "MeterData", "fit_network", "read_meters", "synthetic_meters"),
    "amm_opt.network": (
        "ACNetwork",
        "BranchFlowSOCP",
        "Certified",
        "ConicNetworkModel",
        "DCFlow",
        "Feeder",
        "LinDist3Flow",
        "LinDistFlow",
        "Lossy",
        "NetworkModel",
        "NetworkState",
        "Quantities",
    ),
    "amm_opt.program": ("HorizonProgram", "Injection", "Leximin", "Program", "Solution"),
    "amm_opt.request_market": (
        "BookingPlan",
        "FairPlay",
        "FlexibleRequest",
        "HouseholdLoads",
        "RequestProblem",
        "RequestRun",
        "generated_problem",
        "read_household_loads",
        "request_problem",
        "split_household",
    ),
    "amm_opt.robustness": (
        "FitReport",
        "Strategy",
        "fit_report",
        "gaming",
        "replay_on",
        "revealed",
        "smallest_margin",
        "violation_rates",
    ),
    "amm_opt.simulation": (
        "Column",
        "Disaggregation",
        "Measurement",
        "PriceParts",
        "Run",
        "Sensitivity",
        "cost_recovery",
        "generator_worth",
        "certificates",
        "disaggregate",
        "load_run",
        "open_run",
        "price_parts",
        "simulate",
        "verify",
    ),
    "amm_opt.simulation.coupling": ("Coupled", "coupled"),
    "amm_opt.studies.indices": ("Design", "Indices", "delta_indices", "morris_indices", "sobol_indices"),
    "amm_opt.studies": ("Sample", "Study", "StudyResult", "open_study", "read_study"),
    "amm_opt.study.compare": ("compare",),
    "amm_opt.study.report.page": ("save_report",),
    "amm_opt.study.solvers": ("SolverComparison", "compare_solvers"),
    "amm_opt.study.comparison": ("Comparison", "load_comparison", "open_comparison"),
    "amm_opt.verification.four_wire": ("FourWireNetwork",),
}
"""Where each public name comes from: it is imported when it is first asked for, so that a command that needs none of
them, such as ``amm-opt --help``, does not wait for solvers."""

__all__ = [
    "DIRECTIONS",
    "ACNetwork",
    "Allocation",
    "AmmOptError",
    "AutoMargin",
    "BookingPlan",
    "BranchFlowSOCP",
    "Case",
    "Certified",
    "Clusters",
    "Column",
    "Comparison",
    "ConicNetworkModel",
    "CostRecovery",
    "Coupled",
    "DCFlow",
    "Design",
    "Disaggregation",
    "Envelopes",
    "FairPlay",
    "FairnessState",
    "Feeder",
    "FitReport",
    "FittedNetwork",
    "FlexibleRequest",
    "FourWireNetwork",
    "Grid",
    "HorizonProgram",
    "HouseholdLoads",
    "Households",
    "ImportReport",
    "ImportedNetwork",
    "Indices",
    "InexactWarning",
    "Injection",
    "InputError",
    "Leximin",
    "LinDist3Flow",
    "LinDistFlow",
    "Lossy",
    "Margin",
    "MarginalPrices",
    "Measurement",
    "Mechanism",
    "MeterData",
    "NetworkGame",
    "NetworkModel",
    "NetworkState",
    "OutputError",
    "PriceCurve",
    "PriceParts",
    "Product",
    "Program",
    "Quantities",
    "RequestProblem",
    "RequestRun",
    "Requests",
    "Run",
    "Sample",
    "Scenario",
    "Sensitivity",
    "Settlement",
    "ShapleySpan",
    "ShapleyValues",
    "Solution",
    "SolveError",
    "SolverComparison",
    "State",
    "Strategy",
    "Study",
    "StudyResult",
    "UnavoidableWarning",
    "YearScenario",
    "certificates",
    "clusters",
    "compare",
    "compare_solvers",
    "cost_recovery",
    "coupled",
    "deficits",
    "delta_indices",
    "disaggregate",
    "envelopes",
    "export_envelopes",
    "fit_network",
    "fit_report",
    "from_matpower",
    "from_opendss",
    "from_pandapower",
    "from_rts_gmlc",
    "from_simbench",
    "from_tables",
    "gaming",
    "generated_problem",
    "generator_worth",
    "hosting",
    "import_network",
    "load_case",
    "load_comparison",
    "load_run",
    "morris_indices",
    "open_comparison",
    "open_run",
    "open_study",
    "price_parts",
    "progress_bars",
    "read_ausgrid",
    "read_household_loads",
    "read_meters",
    "read_study",
    "recover_costs",
    "replay_on",
    "request_problem",
    "revealed",
    "save_case",
    "save_report",
    "shapley",
    "shapley_span",
    "simulate",
    "smallest_margin",
    "sobol_indices",
    "split_household",
    "subscriptions",
    "synthetic_meters",
    "verify",
    "violation_rates",
    "year_case",
]


def __getattr__(name: str) -> Any:
    """A public name, from its room."""
    for home, names in _HOME.items():
        if name in names:
            value = globals()[name] = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module 'amm_opt' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names; the rooms behind them are there for whoever imports them by name."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
