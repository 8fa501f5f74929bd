# SPDX-License-Identifier: Apache-2.0
"""Evenly spaced windows of all people at once, from their histories."""
