# SPDX-License-Identifier: Apache-2.0
"""Training data: stores, sources, windows and pools."""
