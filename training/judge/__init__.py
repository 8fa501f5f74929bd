"""Evaluation of models: scores, metrics, baselines, radii, time."""
