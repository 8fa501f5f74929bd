"""The body: skeletons, layouts and geometry. This room imports neither torch nor ROS."""
