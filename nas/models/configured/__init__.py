"""Networks from the configurations that ProxylessNAS and Once-for-All publish (``net.config``: JSON)."""

from nas.models.configured.read import load_config, network_of, save_config

__all__ = ["load_config", "network_of", "save_config"]
