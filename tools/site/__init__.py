"""The documentation site, its figures and generated tables."""
