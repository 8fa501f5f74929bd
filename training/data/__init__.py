"""Motion to learn from: stores, sources, windows, pools."""
