# SPDX-License-Identifier: Apache-2.0
"""Variational Diffusion Distillation in its own domain, behaviour learning."""
