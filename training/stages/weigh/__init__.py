"""Fitting the gate and the radius network."""
