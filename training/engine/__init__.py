# SPDX-License-Identifier: Apache-2.0
"""Shared by all training: the loop, diffusion, losses, the run folder, presets, weights files."""
