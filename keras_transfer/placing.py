"""Says which part of a picture its square shows, and where in the square that part stands."""

from __future__ import annotations

Rectangle = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


def placed(height: int, width: int, size: int, aspect: str) -> tuple[Rectangle, Rectangle]:
    """Return the part of a picture that is shown, and where it stands in a square of `size` pixels a side.

    >>> placed(300, 400, 96, "letterbox")
    ((0, 0, 300, 400), (12, 0, 72, 96))
    >>> placed(300, 400, 96, "crop")
    ((0, 50, 300, 300), (0, 0, 96, 96))

    height, width: of the picture. aspect: `stretch` shows all of it in all of the square, `crop` its middle; with
    `letterbox` bars stay beside it, and no side becomes less than a pixel.
    """
    if aspect == "crop":
        side = min(height, width)
        return ((height - side) // 2, (width - side) // 2, side, side), (0, 0, size, size)
    if aspect == "letterbox":
        scale = size / max(height, width)
        high, wide = (min(max(round(each * scale), 1), size) for each in (height, width))
        return (0, 0, height, width), ((size - high) // 2, (size - wide) // 2, high, wide)
    return (0, 0, height, width), (0, 0, size, size)
