"""The demo: clips, collector, scores, page and still."""
