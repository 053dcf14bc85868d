"""Other CPU inference libraries on the same network, in the same interleaved run as our engines: `make bench-peers`.

Each peer gets the plain export without our rewrites, converted by its own tools (:mod:`.convert`), and the number of
threads that the run is for (:mod:`.libraries`). Its output is compared with PyTorch's: a peer with other pixels is a
row that says so, and one that cannot convert or run the network is named with its reason.
"""
