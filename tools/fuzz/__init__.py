"""Fuzzing with hostile input: messages, transforms and files."""
