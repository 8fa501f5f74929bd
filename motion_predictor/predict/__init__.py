"""Prediction: the predictor, its live use on observations, and summaries of futures."""
