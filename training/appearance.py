"""Changes of a picture's appearance: what turns the foreground of a real photo into that of a composite.

Every function takes a batch (N,3,H,W) of RGB in [0, 1] and one value per sample, returns a changed batch of the same
shape, and does not clip. Which of them are applied, and how strongly, is decided in ``composites.py``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)
_RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)  # D65
_XYZ_TO_LAB = ((0.0, 1.16, 0.0), (5.0, -5.0, 0.0), (0.0, 2.0, -2.0))  # of the cube roots, Lab / 100, without the offset
_RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def _each(values: Tensor) -> Tensor:
    """(N,) or (N,3) -> (N,1,1,1) or (N,3,1,1)."""
    return values.reshape(len(values), -1, 1, 1)


def _mix(matrix: Tensor, picture: Tensor) -> Tensor:
    """Channels through a 3x3 matrix, one for all samples or one for each."""
    return torch.einsum("nij,njhw->nihw" if matrix.ndim == 3 else "ij,njhw->nihw", matrix, picture)


def grey(picture: Tensor) -> Tensor:
    """Luma, (N,1,H,W)."""
    return (picture * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def colour_jitter(
    picture: Tensor, mask: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> Tensor:
    """Brightness, contrast and saturation as factors, hue as a share of the circle.

    The pivot of the contrast is the foreground's mean luma; hue turns about the grey axis, which is what a shift in
    HSV does to nearly grey colours, without its kinks.
    """
    picture = picture * _each(brightness)
    luma = grey(picture)
    pivot = (luma * mask).sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True).clamp(min=1)
    picture = pivot + (picture - pivot) * _each(contrast)
    luma = grey(picture)
    picture = luma + (picture - luma) * _each(saturation)
    return _mix(_turn(hue), picture)


def _turn(hue: Tensor) -> Tensor:
    """Rotation matrices (N,3,3) about the grey axis."""
    angle = hue * 2 * math.pi
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * torch.eye(3) + sin * cross + (1 - cos) / 3


def posterize(picture: Tensor, bits: int = 6) -> Tensor:
    """Keep the upper bits of 8."""
    step = 2 ** (8 - bits)
    return torch.floor((picture.clamp(0, 1) * 255 + 1e-3) / step) * step / 255


def sharpen(picture: Tensor, factor: Tensor) -> Tensor:
    """Extrapolate away from a 3x3 smoothing; factor 1 changes nothing."""
    kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    padded = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    smooth = functional.conv2d(padded, kernel.expand(3, 1, 3, 3), groups=3)
    return smooth + (picture - smooth) * _each(factor)


def autocontrast(picture: Tensor, mask: Tensor) -> Tensor:
    """Stretch each channel so that the foreground's range becomes [0, 1]."""
    inside = mask > 0.5
    low = torch.where(inside, picture, 1.0).amin((2, 3), keepdim=True)
    high = torch.where(inside, picture, 0.0).amax((2, 3), keepdim=True)
    return (picture - low) / (high - low).clamp(min=0.1)


def tone(picture: Tensor, exposure: Tensor, gains: Tensor, gamma: Tensor, curve: Tensor, saturation: Tensor) -> Tensor:
    """As a camera or an editor would: exposure in stops, white-balance gains (N,3) in linear light, gamma, S-curve."""
    linear = picture.clamp(min=0) ** 2.2 * _each(gains) * _each(2**exposure)
    picture = linear.clamp(1e-6, 1) ** _each(gamma / 2.2)
    picture = picture + _each(curve) * picture * (1 - picture) * (2 * picture - 1) * 2
    luma = grey(picture)
    return luma + (picture - luma) * _each(saturation)


def to_lab(picture: Tensor) -> Tensor:
    """CIELAB / 100 (D65) from sRGB."""
    linear = torch.where(picture <= 0.04045, picture / 12.92, ((picture.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)
    xyz = _mix(torch.tensor(_RGB_TO_XYZ) / torch.tensor(_WHITE)[:, None], linear)
    root = torch.where(xyz > 0.008856, xyz.clamp(min=0.008) ** (1 / 3), 7.787 * xyz + 16 / 116)
    return _mix(torch.tensor(_XYZ_TO_LAB), root)


def from_lab(lab: Tensor) -> Tensor:
    """Inverse of :func:`to_lab`."""
    root = _mix(torch.linalg.inv(torch.tensor(_XYZ_TO_LAB)), lab)
    xyz = torch.where(root > 6 / 29, root**3, (root - 16 / 116) / 7.787)
    linear = _mix(torch.linalg.inv(torch.tensor(_RGB_TO_XYZ) / torch.tensor(_WHITE)[:, None]), xyz)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.003) ** (1 / 2.4) - 0.055)


def _moments(picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (N,3,1,1) and covariance (N,3,3) under the mask."""
    area = mask.sum((1, 2, 3)).clamp(min=1)
    mean = (picture * mask).sum((2, 3)) / area[:, None]
    deviation = (picture - mean[:, :, None, None]) * mask
    covariance = torch.einsum("nihw,njhw->nij", deviation, deviation) / area[:, None, None]
    return mean[:, :, None, None], covariance


def transfer_mean_std(picture: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
    """Reinhard et al. 2001 in CIELAB: the foreground takes the mean and spread of a region of another picture."""
    lab = to_lab(picture)
    mean, covariance = _moments(lab, mask)
    other_mean, other_covariance = _moments(to_lab(other), other_mask)
    scale = torch.sqrt(_diagonal(other_covariance) / (_diagonal(covariance) + 1e-6)).clamp(0.4, 2.5)
    return from_lab((lab - mean) * scale + other_mean)


def _diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=1, dim2=2)[:, :, None, None]


def transfer_covariance(picture: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
    """Mean and full covariance in RGB (Xiao & Ma 2006; the symmetric map of Pitié & Kokaram 2007)."""
    mean, covariance = _moments(picture, mask)
    other_mean, other_covariance = _moments(other, other_mask)
    floor = 4e-4 * torch.eye(3)  # (5/255)^2: a region of one colour has no shape to carry over
    root, inverse = _roots(covariance + floor)
    middle, _ = _roots(root @ (other_covariance + floor) @ root)
    return _mix(inverse @ middle @ inverse, picture - mean) + other_mean


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of symmetric positive matrices, and its inverse."""
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp(min=1e-8).sqrt()[:, None, :]
    return (vectors * root) @ vectors.mT, (vectors / root) @ vectors.mT


def transfer_histogram(picture: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
    """Histogram matching per channel in YCbCr (Fecker et al. 2008)."""
    matrix = torch.tensor(_RGB_TO_YCC)
    source, target = _mix(matrix, picture).numpy(), _mix(matrix, other).numpy()
    matched = np.empty_like(source)
    levels = np.linspace(0, 1, 65)
    for n in range(len(source)):
        inside, other_inside = mask[n, 0].numpy() > 0.5, other_mask[n, 0].numpy() > 0.5
        if inside.sum() < 16 or other_inside.sum() < 16:
            matched[n] = source[n]
            continue
        for c in range(3):
            own = _quantiles(source[n, c][inside], levels)
            own += np.arange(65) * 1e-6  # np.interp wants rising positions
            shift = _quantiles(target[n, c][other_inside], levels) - own
            matched[n, c] = source[n, c] + np.interp(source[n, c], own, shift)
    return _mix(torch.linalg.inv(matrix), torch.from_numpy(matched))


def _quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    return ordered[np.round(levels * (len(ordered) - 1)).astype(int)].astype(np.float64)
