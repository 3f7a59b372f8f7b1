"""Markets of the literature: prices and lots."""
