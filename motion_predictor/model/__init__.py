"""The models: settings, transforms, networks and weights files; nothing about tracked people."""
