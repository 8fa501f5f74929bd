"""Accuracy of futures: ``training evaluate``, and the same for mixtures."""
