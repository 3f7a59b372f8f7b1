"""Several mechanisms side by side."""
