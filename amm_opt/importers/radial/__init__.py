"""From several sources and loops of another tool's network to one tree."""
