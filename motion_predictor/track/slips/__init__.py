"""Slips of a tracker within one body, told from motion and put right."""
