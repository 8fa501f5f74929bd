"""Who is there: observations become a window for each person."""
