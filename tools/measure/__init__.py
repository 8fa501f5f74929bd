"""Times of the node and of its outputs."""
