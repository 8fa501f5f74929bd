"""What people did in this place before: kept, and found again when somebody does the like."""
