"""Predictions on machines without torch."""
