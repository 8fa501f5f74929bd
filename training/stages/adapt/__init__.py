"""Adapting a student to a recording: reading, holding back, training and comparing."""
