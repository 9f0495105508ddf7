"""A stand-in of the authors' checkout of Mind-the-Glitch: the modules, names and calls that the scorer uses."""
