"""Configuration and registries, and what follows from them."""
