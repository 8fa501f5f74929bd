"""How long a prediction takes."""
