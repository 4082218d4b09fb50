"""The command line; installed as the package ``paragonsr``."""
