# SPDX-License-Identifier: Apache-2.0
"""Prediction: the predictor, its live use on observations, and summaries of futures."""
