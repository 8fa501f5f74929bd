"""Adapting a student to a recording: what is read and held back, the training, the verdict."""
