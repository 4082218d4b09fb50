"""Training ParagonSR networks: recipes in TOML, data, losses, the loop, and scores on hold-out photographs."""
