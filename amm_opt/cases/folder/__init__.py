"""Case folders: reading, checking and writing."""
