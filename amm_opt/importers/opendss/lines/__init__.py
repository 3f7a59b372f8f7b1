"""Lines from wires in space: conductors, cables, their positions and the impedances that follow."""
