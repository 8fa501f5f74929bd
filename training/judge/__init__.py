"""How good a model is: scores, metrics, baselines, radii, time."""
