"""Makes small pictures of every kind that files come in, and what Pillow makes of them.

    python3 tests/data/make_pictures.py tests/data/pictures    # what lies there was made with Pillow 13.0.0

expected.npz holds `NAME` for each picture (Pillow's convert("RGB")), and `NAME@SIDE` for some (ADM's centre crop of it, by
Pillow). Needs Pillow and numpy; the tests only read the files. tests/data/compare_with_pillow.py does the same for any
number of photographs.
"""
import io
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image

from pillow_crop import centre_crop

SIDES = [5, 8, 12, 24, 50]
CROPPED = ["rgb.png", "rgb-420.jpg", "grey8.png", "wide.jpg", "tall.jpg", "one-pixel.jpg", "large.jpg",
           "upright.jpg", "portrait.jpg"]  # not quite, and more than, twice as high as wide


def scene(height, width):
    """Slopes, edges and noise: (height, width, 3) in 0 to 255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    base = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 5) * np.cos(y / 7)], -1)
    disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 4) ** 2
    base[disc] = [250, 30, 10]
    noise = np.random.default_rng(height * 1000 + width).normal(0, 12, base.shape)
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "jpeg", **{"quality": 80, **options})
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_rows(samples, bits):
    """Rows of samples (height, width, channels), each behind filter byte 0."""
    rows = []
    for row in samples.reshape(samples.shape[0], -1):
        if bits == 16:
            data = row.astype(">u2").tobytes()
        elif bits == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            per_byte = 8 // bits
            padded = np.concatenate([row, np.zeros(-len(row) % per_byte, row.dtype)]).reshape(-1, per_byte)
            shifts = np.arange(per_byte)[::-1] * bits
            data = (padded.astype(np.int64) << shifts).sum(1).astype(np.uint8).tobytes()
        rows.append(b"\0" + data)
    return b"".join(rows)


def png(samples, bits, colour_type, palette=None, transparency=None, interlaced=False, more=b""):
    height, width = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [samples[y::down, x::right] for y, x, down, right in passes]
    raw = b"".join(pack_rows(p, bits) for p in parts if p.size)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced))
    data += more
    if palette is not None:
        data += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparency is not None:
        data += chunk(b"tRNS", transparency)
    return data + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def exif(orientation):
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def pictures():
    rgb = scene(23, 31)
    grey = scene(19, 13)[..., :1]
    image, wide = Image.fromarray(rgb), Image.fromarray(scene(12, 67))
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"rgb-{name}.jpg", jpeg(image, subsampling=sampling)
    yield "progressive.jpg", jpeg(image, progressive=True)
    yield "restarts.jpg", jpeg(image, restart_marker_blocks=2)
    yield "as-rgb.jpg", jpeg(image, keep_rgb=True)
    yield "grey.jpg", jpeg(Image.fromarray(grey[..., 0]))
    yield "cmyk.jpg", jpeg(Image.fromarray(np.concatenate([rgb, 255 - rgb[..., :1] // 3], -1), "CMYK"))
    yield "turned.jpg", jpeg(image, exif=exif(6))
    yield "broken-exif.jpg", jpeg(image, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\1\2\3")
    yield "profile.jpg", jpeg(image, icc_profile=b"no profile at all")
    yield "wide.jpg", jpeg(wide)
    yield "tall.jpg", jpeg(wide.transpose(Image.Transpose.ROTATE_90))
    yield "large.jpg", jpeg(Image.fromarray(scene(101, 83)))
    yield "upright.jpg", jpeg(Image.fromarray(scene(58, 30)))
    yield "portrait.jpg", jpeg(Image.fromarray(scene(64, 30)))
    yield "one-pixel.jpg", jpeg(Image.new("RGB", (1, 1), (200, 100, 50)))
    yield "junk-before-end.jpg", jpeg(image)[:-2] + b"xyz" + jpeg(image)[-2:]
    yield "png-inside.jpeg", png(rgb, 8, 2)

    wide16 = rgb.astype(np.int64) * 257 + 55
    alpha, alpha16 = rgb[..., 2:], wide16[..., 2:]
    yield "rgb.png", png(rgb, 8, 2)
    yield "rgb-interlaced.png", png(rgb, 8, 2, interlaced=True)
    yield "rgb-key.png", png(rgb, 8, 2, transparency=struct.pack(">HHH", *(int(v) for v in rgb[0, 0])))
    yield "rgb16.png", png(wide16 % 65536, 16, 2)
    yield "rgba.png", png(np.concatenate([rgb, alpha], -1), 8, 6)
    yield "rgba16.png", png(np.concatenate([wide16, alpha16], -1) % 65536, 16, 6)
    for bits in (1, 2, 4, 8):
        yield f"grey{bits}.png", png(grey >> (8 - bits), bits, 0)
        colours = np.random.default_rng(bits).integers(0, 256, (2**bits, 3))
        yield f"palette{bits}.png", png(grey >> (8 - bits), bits, 3, palette=colours)
    yield "grey16.png", png(grey.astype(np.int64) * 3, 16, 0)
    yield "grey-key.png", png(grey, 8, 0, transparency=struct.pack(">H", int(grey[0, 0, 0])))
    yield "grey-alpha.png", png(np.concatenate([grey, 255 - grey], -1), 8, 4)
    yield "grey-alpha16.png", png(np.concatenate([grey, 255 - grey], -1).astype(np.int64) * 200, 16, 4)
    yield "palette-alpha.png", png(grey >> 4, 4, 3, palette=rgb[0, :16], transparency=bytes(range(0, 160, 10)))
    yield "palette-short.png", png(grey >> 4, 8, 3, palette=rgb[0, :9])
    yield "palette-interlaced.png", png(grey >> 6, 2, 3, palette=rgb[0, :4], interlaced=True)
    yield "gamma.png", png(rgb, 8, 2, more=chunk(b"gAMA", struct.pack(">I", 100000)))


def main():
    folder = pathlib.Path(sys.argv[1])
    expected = {}
    for name, data in pictures():
        (folder / name).write_bytes(data)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        expected[name] = np.array(image)
        for side in SIDES if name in CROPPED else []:
            expected[f"{name}@{side}"] = centre_crop(image, side)
    np.savez_compressed(folder / "expected.npz", **expected)
    print(f"{len(expected)} arrays, {sum(f.stat().st_size for f in folder.iterdir())} bytes in all")


if __name__ == "__main__":
    main()
