"""The documentation site, its plots and generated tables."""
