"""Variational Diffusion Distillation on densities that can be looked at."""
