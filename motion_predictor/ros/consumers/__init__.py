# SPDX-License-Identifier: Apache-2.0
"""Programs that use the predictor's outputs; each is a separate node.

``ros2 launch motion_predictor consumers.launch.py`` starts the requested ones. All of them may
make a robot more careful than its safety functions require, never less.
"""
