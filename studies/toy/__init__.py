# SPDX-License-Identifier: Apache-2.0
"""Variational Diffusion Distillation on two-dimensional densities."""
