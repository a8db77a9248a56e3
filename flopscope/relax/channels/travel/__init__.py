"""The second dictionary of rules: how channel groups travel through ops."""

from flopscope.relax.channels.travel import arithmetic, layers, movement
from flopscope.relax.channels.travel.registry import Call, Dims, travel_rule

__all__ = ["Call", "Dims", "arithmetic", "layers", "movement", "travel_rule"]
