"""Evenly spaced windows of all people at once, from their histories."""
