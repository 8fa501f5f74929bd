"""What goes out: publishers, their messages, and what is taken back."""
