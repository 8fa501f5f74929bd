"""Training data: stores, sources, windows and pools."""
