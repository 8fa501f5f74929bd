"""Judging what learns on line: recordings played as a tracker would have sent them."""
