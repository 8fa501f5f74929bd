"""How near futures come to what then happened: ``training evaluate``, and of mixtures."""
