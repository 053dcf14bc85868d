"""A bundle as a folder for NVIDIA's Polygraphy: its graphs, the gate's composites, and the commands to run."""
