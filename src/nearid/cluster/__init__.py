"""Several processes as one: ranks and their bootstrap."""
