"""The language of OpenDSS files: statements, classes and their properties, paths; without what they mean."""
