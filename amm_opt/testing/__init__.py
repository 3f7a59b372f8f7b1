"""Checks for plug-ins: hold a mechanism, a network model or a solver of one's own to what ours are held to."""

from amm_opt.testing.checks import Check, CheckError
from amm_opt.testing.mechanisms import check_mechanism, mechanism_checks

__all__ = ["Check", "CheckError", "check_mechanism", "mechanism_checks"]
