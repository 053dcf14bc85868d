"""Many pictures on many machines: Ray, object stores, and the same command on one machine without them."""
