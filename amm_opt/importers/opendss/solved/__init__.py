"""What an import has to solve for: loads between phases draw by the voltages that they meet."""
