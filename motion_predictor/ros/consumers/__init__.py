"""
Programs that put the predictor's outputs to use: each is a node of its own.

``ros2 launch motion_predictor consumers.launch.py`` starts those that are asked for. All of them
may make a robot more careful than its safety functions require, never less.
"""
