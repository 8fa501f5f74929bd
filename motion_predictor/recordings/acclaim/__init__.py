# SPDX-License-Identifier: Apache-2.0
"""Acclaim's ASF and AMC files, as the CMU motion capture database has them."""
