"""The content of a rosbag2 recording: files, message types, stamps and people."""
