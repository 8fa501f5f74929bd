# SPDX-License-Identifier: Apache-2.0
"""Measurements of the node's and its outputs' times."""
