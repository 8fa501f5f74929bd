# SPDX-License-Identifier: Apache-2.0
"""Readers that turn data sets and recordings, as they are distributed, into clips for a store."""
