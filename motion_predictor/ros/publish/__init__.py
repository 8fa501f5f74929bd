"""Output of the node: publishers, their messages, and taking messages back."""
