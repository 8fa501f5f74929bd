"""Measurements of the node's and its outputs' times."""
