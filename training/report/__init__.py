"""Pages and plots, written from JSON."""
