"""What a rosbag2 recording holds: its files, message types, stamps and people."""
