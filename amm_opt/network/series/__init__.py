"""Buses in series: programs run on the buses that matter, results are of all."""
