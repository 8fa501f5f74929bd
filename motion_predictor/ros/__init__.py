"""The ROS 2 node. This is the only room that imports ROS."""
