"""Derivatives of what a run served with respect to limits, requests and the mechanism's parameters."""
