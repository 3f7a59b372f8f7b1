"""Rules that network operators use, as benchmarks."""
