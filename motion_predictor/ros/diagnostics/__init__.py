"""What the node tells of itself: counters, rates, latencies, and complaints in words."""
