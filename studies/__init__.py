"""Experiments on the recipe of the training; nothing imports them, and they are not shipped."""
