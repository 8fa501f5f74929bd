"""Sensor inputs: fields of messages become observations. No torch and no ROS is imported here."""
