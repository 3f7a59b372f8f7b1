"""Rules that search by sweeps of the network instead of a program."""
