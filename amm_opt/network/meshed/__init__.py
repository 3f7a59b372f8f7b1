"""Networks whose branches close cycles."""
