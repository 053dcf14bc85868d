"""Measurements that can be trusted: every comparison comes from one interleaved run on one machine."""
