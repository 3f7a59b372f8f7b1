"""What a run comes to in costs: who is worth what in it, who gets what, and which places are tight."""
