"""Stand-in: the real one wraps the diffusion model."""
