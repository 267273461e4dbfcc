"""The settings: one TOML file, every default, and the environment above them."""
