"""Pages and figures, written from JSON."""
