"""What a sensor says: fields of messages become observations. No torch, no ROS."""
