# SPDX-License-Identifier: Apache-2.0
"""Errors of a tracker within one body: recognised and corrected."""
