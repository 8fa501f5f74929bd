# SPDX-License-Identifier: Apache-2.0
"""Evaluation of models that learn while they run: recordings played as a tracker sends them."""
