"""What people will do: the predictor, its use on line, what futures say in short."""
