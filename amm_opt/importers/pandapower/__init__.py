"""pandapower nets, and SimBench networks with their profiles."""

from amm_opt.importers.pandapower.network import from_pandapower, from_simbench, pandapower_network, simbench_network

__all__ = ["from_pandapower", "from_simbench", "pandapower_network", "simbench_network"]
