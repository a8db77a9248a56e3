"""Cost as a differentiable function of the architecture: choices, widths and closed forms."""

from flopscope.relax.channels.groups import Frozen, Group
from flopscope.relax.channels.widths import Widths, widths
from flopscope.relax.choices.block_latency import block_latency
from flopscope.relax.choices.choice import Choice
from flopscope.relax.choices.cost_model import CostModel
from flopscope.relax.choices.decisions import Decision
from flopscope.relax.choices.parts import Contribution, Vertex
from flopscope.relax.choices.supernet import cost_model, latency_model
from flopscope.relax.closed.form import ClosedForm, closed_form

__all__ = [
    "Choice",
    "ClosedForm",
    "Contribution",
    "CostModel",
    "Decision",
    "Frozen",
    "Group",
    "Vertex",
    "Widths",
    "block_latency",
    "closed_form",
    "cost_model",
    "latency_model",
    "widths",
]
