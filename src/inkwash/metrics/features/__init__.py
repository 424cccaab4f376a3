"""Feature networks: images in, one vector an image out, and an id that says exactly which network it was."""
