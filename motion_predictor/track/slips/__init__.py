"""Errors of a tracker within one body: recognised and corrected."""
