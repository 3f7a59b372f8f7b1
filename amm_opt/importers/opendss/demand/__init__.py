"""Loads with their shapes and plants of a circuit as participants with profiles."""
