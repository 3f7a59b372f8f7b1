"""Load shapes, curves and plants (PVSystem, Generator, Storage): what their properties mean."""
