"""The Australian MV feeder with its LV feeders that CSIRO publishes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.opendss import from_opendss

LICENCE = "CC-BY-NC-SA-4.0"
ATTRIBUTION = (
    "F. Geth, R. Heidari, J. Clark, K. Lucas, N. Nimalsiri: Realistic Australian Medium Voltage Feeder with Associated"
    " Low Voltage Feeders, v1, CSIRO, 2025, doi 10.25919/ghnz-bk28, CC BY-NC-SA 4.0; profiles are a scenario of amm-opt"
)


def csiro_network(path: str | Path, *, xhl: str = "percent") -> ImportedNetwork:
    """The network from the folder of the data set (doi 10.25919/ghnz-bk28): 11 kV and 33 LV feeders at 400 V.

    Args:
        path: the folder with ``Master.dss``.
        xhl: how transformer reactances are read, see ``from_opendss``.

    Raises:
        InputError: see ``from_opendss``.
    """
    return replace(
        from_opendss(path, xhl=xhl, nominal_kv=(11.0, 0.4)),
        title="Australian 11 kV feeder with 33 LV feeders (CSIRO 65408), one year of half-hours",
        licence=LICENCE,
        attribution=ATTRIBUTION,
        timezone="Etc/GMT-10",
    )
