"""How the example pictures were made: a cut-out pasted on another photo, both CC0. Run with the two sources at hand.

python examples/make_examples.py LEMUR_PHOTO LEMUR_MATTE MEADOW_PHOTO
"""

import sys
from pathlib import Path

from PIL import Image

SIZE = (960, 540)
HEIGHT = 330  # of the pasted animal, at the bottom edge
LEFT = 330


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


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
