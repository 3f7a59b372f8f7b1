"""One page that says what a comparison found and what stands behind it, in a file that needs nothing else."""
