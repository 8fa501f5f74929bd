"""The duration of a prediction."""
