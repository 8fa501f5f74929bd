"""Soak tests as long as a shift: faults, crowds, memory."""
