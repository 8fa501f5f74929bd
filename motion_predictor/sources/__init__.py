# SPDX-License-Identifier: Apache-2.0
"""Sensor inputs: fields of messages become observations. No torch and no ROS is imported here."""
