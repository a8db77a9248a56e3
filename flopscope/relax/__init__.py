"""Cost as a differentiable function of the architecture: choices, widths and closed forms.

Examples:
    >>> import flopscope, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    >>> w = flopscope.relax.widths(model, "1x8")
    >>> sizes = w.sizes.double().requires_grad_()
    >>> w.cost("macs", sizes).backward()
    >>> sizes.grad.tolist()  # one hidden channel more is 8 + 4 multiply-accumulates
    [12.0]
"""

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
