"""Clips in, clips out: frames harmonized one after another, steady, and true to the file."""
