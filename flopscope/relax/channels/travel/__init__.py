"""The second dictionary of rules: how channel groups travel through ops."""

from flopscope.relax.channels.travel import arithmetic, layers, movement
from flopscope.relax.channels.travel.registry import Call, travel_rule

__all__ = ["Call", "arithmetic", "layers", "movement", "travel_rule"]
