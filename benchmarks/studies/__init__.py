"""Experiments behind single decisions, each with its committed measurement. Run from a checkout; not in the wheel."""
