# SPDX-License-Identifier: Apache-2.0
"""The demo: clips, collector, scores, page and still."""
