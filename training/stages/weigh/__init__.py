"""Fit the gate and the radius network."""
