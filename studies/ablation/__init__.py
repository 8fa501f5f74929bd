"""Ablations: the effect of each part of the recipe."""
