"""The network model ``certified``: boxes of injections, every point of which keeps every limit."""
