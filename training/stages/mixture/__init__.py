"""What the mixture's training is made of: its data, its start, its parts, and their terms."""
