"""A picture of a page in 256 colours: a third of the bytes, and hard to tell apart by eye."""

import struct
import zlib
from base64 import b64decode, b64encode

import numpy as np
from playwright.sync_api import Page

COLOURS = 256
# The browser knows how to read a PNG: it gives width, height, and red, green, blue, alpha of each pixel.
DECODE = """async (png) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const bytes = context.getImageData(0, 0, image.width, image.height).data;
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return [image.width, image.height, btoa(text)];
}"""


def small(png: bytes, blank: Page) -> bytes:
    """`png` with a palette. `blank` is a page without a content security policy, in which it is decoded."""
    width, height, data = blank.evaluate(DECODE, b64encode(png).decode())
    pixels = np.frombuffer(b64decode(data), np.uint8).reshape(-1, 4)[:, :3].astype(np.int32)
    palette, indices = _reduced(pixels)
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = indices.reshape(height, width)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette.astype(np.uint8).tobytes()), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _reduced(pixels: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """The commonest colours, and which of them is nearest to each pixel. Colours that differ by less than 8 a channel are taken as one."""
    coarse = (pixels >> 3) @ np.array([1024, 32, 1])
    _, inverse, counts = np.unique(coarse, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(inverse, pixels[:, channel]) / counts for channel in range(3)], axis=1)
    palette = means[np.argsort(-counts, kind="stable")[:COLOURS]].round()
    nearest = ((means[:, None, :] - palette[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
    return palette, nearest[inverse].astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
