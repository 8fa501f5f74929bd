"""What tuning and ablations have in common."""
