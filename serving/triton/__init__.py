"""Bundles as a model repository of NVIDIA's Triton Inference Server, and the model that runs there."""
