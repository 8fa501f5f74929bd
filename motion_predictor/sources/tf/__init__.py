"""People and frames of TF: the tree of frames, what waits for it, who stands in it."""
