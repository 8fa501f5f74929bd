"""How anything is trained: the loop, diffusion, losses, the run folder, presets, weights files."""
