"""Checks for plug-ins: hold a mechanism, a network model or a solver of one's own to what ours are held to."""

from amm_opt.testing.backends import backend_checks, check_backend
from amm_opt.testing.checks import Check, CheckError
from amm_opt.testing.mechanisms import check_mechanism, mechanism_checks
from amm_opt.testing.network_models import check_network_model, network_model_checks

__all__ = [
    "Check",
    "CheckError",
    "backend_checks",
    "check_backend",
    "check_mechanism",
    "check_network_model",
    "mechanism_checks",
    "network_model_checks",
]
