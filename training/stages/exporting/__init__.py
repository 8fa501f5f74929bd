# SPDX-License-Identifier: Apache-2.0
"""Weights in the forms of other programs."""
