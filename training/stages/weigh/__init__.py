# SPDX-License-Identifier: Apache-2.0
"""Fit the gate and the radius network."""
