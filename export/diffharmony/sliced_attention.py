"""Attention in slices of its queries, where its scores would not fit into memory at once.

Engines that do not fuse attention hold every score: at 1024 pixels the UNet's finest self-attention has 16384 tokens,
8 heads and 8.6 GB of them in FP32, and as much again for their softmax. A row of the softmax knows nothing of others,
so slices of the queries give the same numbers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_SCORES = 2**30
"""Bytes of FP32 scores of one slice. At 512 pixels nothing is sliced: the largest there are 0.5 GB."""
BYTES = 4


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, (1,heads,tokens,width) each."""
    scores = BYTES * math.prod(query.shape[:3]) * key.shape[2]
    slices = math.ceil(scores / LARGEST_SCORES)
    if slices == 1:
        return F.scaled_dot_product_attention(query, key, value)
    parts = [F.scaled_dot_product_attention(part, key, value) for part in query.chunk(slices, dim=2)]
    return torch.cat(parts, dim=2)


def slice_attention(network: nn.Module) -> nn.Module:
    """Have every attention of a network computed by :func:`attend`; the network is changed and returned."""
    for module in network.modules():
        if hasattr(module, "attend"):
            module.attend = attend  # type: ignore[assignment]
    return network
