"""What people did in this place before: kept, found again, and written to a file."""
