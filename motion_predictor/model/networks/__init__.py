"""The networks: from a condition to futures or to a mixture of experts."""
