# SPDX-License-Identifier: Apache-2.0
"""Evaluation of models: scores, metrics, baselines, radii, time."""
