"""Checks of a run that do not rely on its network model."""
