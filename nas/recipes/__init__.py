"""One TOML file per published experiment, with the paper's own settings."""
