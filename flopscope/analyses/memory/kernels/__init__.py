"""What the kernels of eager PyTorch take from the CPU allocator while they run: their fresh outputs, and scratch memory beside them.

`growths` gives it op by op. A kernel without a rule takes its fresh outputs. Scalars that torch wraps into tensors of up to 12 bytes
for the time of a call are left out.
"""

from flopscope.analyses.memory.kernels import attention, convolutions, convolutions_backward, normalisations, others, recurrent
from flopscope.analyses.memory.kernels.growth import growths
from flopscope.analyses.memory.kernels.host import Host, this_host
from flopscope.analyses.memory.kernels.registry import growth_bytes, kernel

__all__ = [
    "Host",
    "attention",
    "convolutions",
    "convolutions_backward",
    "growth_bytes",
    "growths",
    "kernel",
    "normalisations",
    "others",
    "recurrent",
    "this_host",
]
