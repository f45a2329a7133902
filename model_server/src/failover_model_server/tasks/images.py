"""Images in requests and responses: decoded with limits, encoded as PNG."""

import base64
import binascii
import io
from typing import TYPE_CHECKING

from failover_model_server.errors import InputTooLarge, InvalidRequest
from failover_model_server.settings import Settings
from failover_model_server.tasks.image_parts import UNREADABLE, encoded

if TYPE_CHECKING:
    from PIL.Image import Image

TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What makes a picture of each orientation upright, by Pillow's names."""
MOST_RATIO = 64
"""Longer to shorter side. A processor that scales the shorter side to some hundred pixels makes a strip of gigabytes of a longer one."""


def read_image(text: str, settings: Settings) -> "Image":
    """An RGB image from base64 (a data: URL's too), turned upright as its EXIF data say.

    Raises:
        InvalidRequest: not base64, or not a JPEG, PNG or WebP image.
        InputTooLarge: more bytes or pixels than the settings allow, a side that is too long, or too many parts (`image_parts`).
    """
    most = settings.max_body_bytes
    data = _decode(text)
    if len(data) > most:
        raise InputTooLarge(f"image: more than {most} bytes")
    return _open(data, settings)


def _open(data: bytes, settings: Settings) -> "Image":
    from PIL import Image

    image = encoded(data)
    try:
        with Image.open(io.BytesIO(image.data), formats=(image.form,)) as opened:
            _check_size(opened.width, opened.height, settings)  # known from the header, before anything is decoded
            turn = TURNS.get(image.orientation)
            turned = opened if turn is None else opened.transpose(Image.Transpose[turn])
            return turned.convert("RGB")
    except InputTooLarge:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, from the header too
        raise InputTooLarge(f"image: too many pixels; at most {settings.max_pixels} in all") from error
    except Exception as error:  # decoders raise nearly anything over a damaged file
        raise InvalidRequest(UNREADABLE) from error


def _check_size(width: int, height: int, settings: Settings) -> None:
    if width * height > settings.max_pixels:
        raise InputTooLarge(f"image: {width} x {height} pixels; at most {settings.max_pixels} in all")
    longer, shorter = max(width, height), min(width, height)
    if longer > settings.max_side or longer > MOST_RATIO * shorter:
        raise InputTooLarge(
            f"image: {width} x {height} pixels; a side has at most {settings.max_side}, and at most {MOST_RATIO} times the other"
        )


def _decode(text: str) -> bytes:
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("image: must be base64") from error


def png_base64(image: "Image") -> str:
    """The image as PNG in base64."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def synthetic_image() -> "Image":
    """A small picture that is not of one colour, for warming: a gradient."""
    from PIL import Image

    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")
