"""Small networks made by hand: the baselines that a searched network has to beat at the same cost.

Each factory takes the number of ``classes``, the channels of the image (``channels_in``) and ``small_input``, which keeps the resolution
of images of 32x32 and less for longer. Parameters and MACs equal the published ones; where implementations of the same network differ,
an option says who does what.
"""

from __future__ import annotations

from nas.models.mobilenet_v1 import mobilenet_v1 as mobilenet_v1
from nas.models.mobilenet_v2 import mobilenet_v2 as mobilenet_v2
from nas.models.shufflenet_v1 import shufflenet_v1 as shufflenet_v1
from nas.models.shufflenet_v2 import shufflenet_v2 as shufflenet_v2
from nas.models.squeezenet import squeezenet as squeezenet

__all__ = ["mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2", "squeezenet"]
