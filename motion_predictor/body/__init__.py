"""What a body is: skeletons, layouts, geometry. No torch, no ROS."""
