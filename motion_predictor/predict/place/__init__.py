"""Learning from a place: candidates, memory, gate, evidence and radius."""
