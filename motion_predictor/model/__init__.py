"""What a network is: settings, transforms, weights. It knows nobody who is followed."""
