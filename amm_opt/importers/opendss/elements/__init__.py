"""The classes of OpenDSS elements that a network is made of, each built up by its properties in order."""
