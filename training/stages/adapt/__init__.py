# SPDX-License-Identifier: Apache-2.0
"""Adapting a student to a recording: reading, holding back, training and comparing."""
