"""AC power flow of a feeder."""
