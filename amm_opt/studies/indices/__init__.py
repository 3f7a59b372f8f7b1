"""Which of several uncertain numbers an outcome depends on: Sobol, Morris and delta indices, through SALib."""

from amm_opt.studies.indices.design import Design
from amm_opt.studies.indices.indices import Indices
from amm_opt.studies.indices.of_functions import delta_indices, morris_indices, sobol_indices

__all__ = ["Design", "Indices", "delta_indices", "morris_indices", "sobol_indices"]
