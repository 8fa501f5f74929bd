"""What comes in: topics, messages that wait, transforms; messages to observations."""
