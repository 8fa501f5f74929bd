# SPDX-License-Identifier: Apache-2.0
"""Checks of a tracker's data that report faults in words for whoever runs the robot."""
