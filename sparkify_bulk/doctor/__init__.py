"""Checks of the server, the star, the input and the room, before a run."""
