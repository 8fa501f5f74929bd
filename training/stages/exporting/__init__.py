"""Weights in the forms of other programs."""
