"""For as long as a shift: faults, crowds, memory."""
