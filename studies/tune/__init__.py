"""Tuning SwiftDiff by Bayesian optimisation."""
