# SPDX-License-Identifier: Apache-2.0
"""Sampled futures that are decoded on demand."""
