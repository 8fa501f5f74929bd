# SPDX-License-Identifier: Apache-2.0
"""Tuning SwiftDiff by Bayesian optimisation."""
