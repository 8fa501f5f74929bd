"""Tracking of people: observations become one window of poses per person."""
