"""The weights that are shipped: README.md is their model card."""
