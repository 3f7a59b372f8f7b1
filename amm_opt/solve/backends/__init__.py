"""Solvers of the problems that the routes make."""
