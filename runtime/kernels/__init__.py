"""CUDA kernels for everything around the network: fitting, colour maps, application at full size.

`structures` is what the kernels are handed, `passes` puts them on a stream in order, `nvrtc` compiles them for the GPU
at hand and `on_device` runs a whole picture. docs/full_resolution.md, "On a GPU", has the rules.
"""
