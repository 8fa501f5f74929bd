"""The parts that tuning and ablations share."""
