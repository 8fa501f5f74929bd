"""Sampled futures that are decoded on demand."""
