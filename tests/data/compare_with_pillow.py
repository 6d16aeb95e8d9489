"""Compares our centre crops of any photographs with Pillow's.

    python3 tests/data/compare_with_pillow.py build/crop_images IMAGES.tar [SIDE…]

For each side (default 64, 256, 512): how many bytes differ and by how much, and which images by more than one grey
level, in the installed Pillow. Exit code 1 if there is one. Needs Pillow and numpy.
"""
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
import PIL
from PIL import Image, features

from pillow_crop import centre_crop


def main():
    program, tar, sides = sys.argv[1], sys.argv[2], [int(side) for side in sys.argv[3:]] or [64, 256, 512]
    print(f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}")
    far = 0
    with tarfile.open(tar) as archive, tempfile.TemporaryDirectory() as folder:
        names = sorted(member.name for member in archive.getmembers() if member.isfile())
        for side in sides:
            subprocess.run([program, tar, str(side), f"{folder}/crops.npz"], check=True)
            ours = np.load(f"{folder}/crops.npz")["arr_0"]
            assert len(ours) == len(names)
            counts, worst = np.zeros(256, np.int64), {}
            for crop, name in zip(ours, names):
                theirs = centre_crop(Image.open(archive.extractfile(name)).convert("RGB"), side)
                difference = np.abs(crop.astype(int) - theirs)
                counts += np.bincount(difference.ravel(), minlength=256)
                if difference.max() > 1:
                    worst[name] = int(difference.max())
            by = {level: int(count) for level, count in enumerate(counts) if count}
            print(f"side {side}: {len(names)} images, bytes by difference {by}; beyond one level: {worst or 'none'}")
            far += len(worst)
    return 1 if far else 0


sys.exit(main())
