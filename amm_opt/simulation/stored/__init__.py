"""What a run keeps, in memory or in a folder, while it goes on and afterwards."""
