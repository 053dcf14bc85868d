"""The first hour with a GPU in parts, each of which is useful alone: see `benchmarks/first_hour.py`."""
