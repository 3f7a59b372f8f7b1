"""The feeder: a validated tree of buses and branches, and the tables it is read from."""
