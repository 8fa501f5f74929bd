"""Ground of every room: files, whole or not at all; shapes; a thread for slow work."""
