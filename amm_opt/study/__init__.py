"""Comparisons of mechanisms, their pictures, and the command line."""
