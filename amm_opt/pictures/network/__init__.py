"""Maps of a network: by coordinates or as a tree, still or interactive."""
