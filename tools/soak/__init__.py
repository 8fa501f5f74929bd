# SPDX-License-Identifier: Apache-2.0
"""Soak tests as long as a shift: faults, crowds, memory."""
