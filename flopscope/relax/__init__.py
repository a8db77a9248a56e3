"""Cost as a differentiable function of the architecture: choices, widths and closed forms."""

from flopscope.relax.choice import Choice
from flopscope.relax.cost_model import CostModel
from flopscope.relax.decisions import Decision
from flopscope.relax.parts import Contribution, Vertex
from flopscope.relax.supernet import cost_model

__all__ = ["Choice", "Contribution", "CostModel", "Decision", "Vertex", "cost_model"]
