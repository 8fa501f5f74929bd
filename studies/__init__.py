"""Experiments about the recipe: nobody imports them, and they are not shipped."""
