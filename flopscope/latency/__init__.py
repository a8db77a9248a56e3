"""How long a model takes and how much energy, as estimates with error bars: devices, and sources of times. torch is not imported."""
