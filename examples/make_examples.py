"""How the example pictures were made: a cut-out pasted on another photo (CREDITS.md). Run with the sources at hand.

python examples/make_examples.py LEMUR_PHOTO LEMUR_MATTE MEADOW_PHOTO BUS_PHOTO BUS_MASK STREET_PHOTO
"""

import sys
from pathlib import Path

from PIL import Image, ImageFilter

SIZE = (960, 540)
HEIGHT = 330  # of the pasted animal, at the bottom edge
LEFT = 330
STREET = (576, 432)
BUS_WIDTH = 330


def main(photo_path: str, matte_path: str, meadow_path: str) -> None:
    photo, matte = Image.open(photo_path).convert("RGB"), Image.open(matte_path).convert("L")
    meadow = Image.open(meadow_path).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    scale = HEIGHT / photo.height
    size = (round(photo.width * scale), HEIGHT)
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    matte = matte.resize(size, Image.Resampling.BILINEAR)
    mask = Image.new("L", SIZE)
    mask.paste(matte, (LEFT, SIZE[1] - HEIGHT))
    pasted = Image.new("RGB", SIZE)
    pasted.paste(photo, (LEFT, SIZE[1] - HEIGHT))
    here = Path(__file__).parent
    Image.composite(pasted, meadow, mask).save(here / "lemur.jpg", quality=92, subsampling=0)
    mask.save(here / "lemur_mask.png", optimize=True)


def bus(photo_path: str, mask_path: str, street_path: str) -> None:
    """A bus by day on a street at night; the mask loses a pixel and its edge is softened, as a cut-out's."""
    photo, matte = Image.open(photo_path).convert("RGB"), Image.open(mask_path).convert("L")
    street = Image.open(street_path).convert("RGB").resize((STREET[0], STREET[0]), Image.Resampling.LANCZOS)
    street = street.crop((0, STREET[0] - STREET[1], *([STREET[0]] * 2)))
    left, top, right, bottom = matte.point(lambda level: 255 if level > 127 else 0).getbbox()
    box = (left - 3, top - 3, right + 3, bottom + 3)
    size = (BUS_WIDTH, int((box[3] - box[1]) * BUS_WIDTH / (box[2] - box[0])))
    photo, matte = (part.crop(box).resize(size, Image.Resampling.LANCZOS) for part in (photo, matte))
    matte = matte.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(1))
    place = (int(0.02 * STREET[0]), STREET[1] - size[1] - 20)
    mask = Image.new("L", STREET)
    mask.paste(matte, place)
    street.paste(photo, place, matte)
    here = Path(__file__).parent
    street.save(here / "bus.jpg", quality=92, subsampling=0)
    mask.save(here / "bus_mask.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:4])
    bus(*sys.argv[4:])
