"""The node's reports on itself: counters, rates, latencies, and complaints in words."""
