"""Networks that nobody has a model of: affine rows fitted to readings of meters."""

from amm_opt.meters.data import MeterData, read_meters
from amm_opt.meters.fit import fit_network
from amm_opt.meters.fitted import FittedNetwork
from amm_opt.meters.synthetic import synthetic_meters

__all__ = ["FittedNetwork", "MeterData", "fit_network", "read_meters", "synthetic_meters"]
