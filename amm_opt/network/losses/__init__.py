"""What branches lose: exactly at an operating point, and as linear models estimate it."""
