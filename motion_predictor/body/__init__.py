# SPDX-License-Identifier: Apache-2.0
"""The body: skeletons, layouts and geometry. This room imports neither torch nor ROS."""
