"""Data sets and recordings as they are passed on, each turned into clips that a store takes."""
