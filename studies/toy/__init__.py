"""Variational Diffusion Distillation on two-dimensional densities."""
