"""Whatever arrives: messages, transforms, files."""
