"""What the node remembers of its place beyond a run, and the services that command it."""
