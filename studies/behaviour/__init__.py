"""Variational Diffusion Distillation in its own domain, behaviour learning."""
