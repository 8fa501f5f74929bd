"""What the node publishes beside the cloud of all samples."""
