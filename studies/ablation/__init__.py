# SPDX-License-Identifier: Apache-2.0
"""Ablations: the effect of each part of the recipe."""
