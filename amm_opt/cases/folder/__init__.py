"""Case folders: checking tables, reading and writing them."""
