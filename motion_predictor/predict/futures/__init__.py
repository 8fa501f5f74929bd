"""Sampled futures, decoded where somebody asks for them."""
