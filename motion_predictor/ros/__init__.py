# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node. This is the only room that imports ROS."""
