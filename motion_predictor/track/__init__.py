# SPDX-License-Identifier: Apache-2.0
"""Tracking of people: observations become one window of poses per person."""
