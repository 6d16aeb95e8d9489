"""ADM's centre crop by Pillow: halves by BOX while the shorter side is twice `side`, then BICUBIC, then the middle."""
import numpy as np
from PIL import Image


def centre_crop(image, side):
    while min(image.size) >= 2 * side:
        image = image.resize(tuple(extent // 2 for extent in image.size), resample=Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize(tuple(round(extent * scale) for extent in image.size), resample=Image.Resampling.BICUBIC)
    pixels = np.array(image)
    y, x = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[y : y + side, x : x + side]
