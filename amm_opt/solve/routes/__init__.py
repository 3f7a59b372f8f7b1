"""Ways to solve a program on a network model."""
