"""When the world is not as it is read: what a mechanism sees, and what there is (docs/robustness.md)."""

from amm_opt.simulation.measurement.base import Fault
from amm_opt.simulation.measurement.interruptions import Memory, Message
from amm_opt.simulation.measurement.measurement import KINDS, MEASUREMENT, Measurement, as_measurement
from amm_opt.simulation.measurement.networks import Impedance, OtherFeeder, Phase, Switch, Tap
from amm_opt.simulation.measurement.readings import Bias, Delay, Drop, Noise, Stale
from amm_opt.simulation.measurement.world import World

__all__ = [
    "KINDS",
    "MEASUREMENT",
    "Bias",
    "Delay",
    "Drop",
    "Fault",
    "Impedance",
    "Measurement",
    "Memory",
    "Message",
    "Noise",
    "OtherFeeder",
    "Phase",
    "Stale",
    "Switch",
    "Tap",
    "World",
    "as_measurement",
]
