"""What is learnt of a place: candidates, memory, gate, evidence, radius."""
