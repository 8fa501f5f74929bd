"""How the deployed weights are made; runs from the source tree."""
