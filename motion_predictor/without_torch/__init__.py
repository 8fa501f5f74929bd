# SPDX-License-Identifier: Apache-2.0
"""Predictions on machines without torch."""
