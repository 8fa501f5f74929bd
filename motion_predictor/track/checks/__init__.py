"""What is wrong with what a tracker sends, in words for whoever runs the robot."""
