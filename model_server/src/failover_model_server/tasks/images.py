"""Images in requests and responses: decoded with limits, fetched only from hosts that are allowed, encoded as PNG."""

import base64
import binascii
import io
import time
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

from failover_model_server.errors import InputTooLarge, InvalidRequest
from failover_model_server.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP")
FETCH_SECONDS = 5.0
CHUNK = 64 * 1024


class _NoRedirects(HTTPRedirectHandler):
    """An allowed host must not send us to one that is not."""

    def redirect_request(self, *_args: object) -> None:
        return None


def read_image(text: str, settings: Settings) -> "Image":
    """An RGB image from base64 (a data: URL's too) or from a URL on the allow-list, turned upright as its EXIF data say.

    Raises:
        InvalidRequest: not base64, not a JPEG, PNG or WebP image, or a URL that is not allowed or does not answer.
        InputTooLarge: more bytes or pixels than the settings allow.
    """
    data = _fetch(text, settings) if text.startswith(("http://", "https://")) else _decode(text)
    if len(data) > settings.max_body_bytes:
        raise InputTooLarge(f"image: {len(data)} bytes; at most {settings.max_body_bytes}")
    return _open(data, settings.max_pixels)


def _open(data: bytes, max_pixels: int) -> "Image":
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:  # known from the header, before anything is decoded
                raise InputTooLarge(f"image: {image.width} x {image.height} pixels; at most {max_pixels} in all")
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidRequest("image: not a JPEG, PNG or WebP image that can be read") from error


def _decode(text: str) -> bytes:
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("image: must be base64, or a URL on a host that this server allows") from error


def _fetch(url: str, settings: Settings) -> bytes:
    """An allow-list entry is a host, reached by https, or an origin as http://HOST:PORT."""
    parts = urlsplit(url)
    allowed = {entry if "://" in entry else f"https://{entry}" for entry in settings.url_allow_list}
    if f"{parts.scheme}://{parts.netloc}" not in allowed:
        raise InvalidRequest("image: URLs of this host are not fetched; send the image as base64")
    end, data = time.monotonic() + FETCH_SECONDS, b""
    try:
        with build_opener(_NoRedirects).open(url, timeout=FETCH_SECONDS) as response:
            while len(data) <= settings.max_body_bytes and (chunk := response.read1(CHUNK)):
                data += chunk
                if time.monotonic() > end:  # the time-out above is that of one wait alone
                    raise TimeoutError(f"more than {FETCH_SECONDS:g} s")
            return data
    except (URLError, OSError, ValueError) as error:
        raise InvalidRequest("image: its URL could not be fetched") from error


def png_base64(image: "Image") -> str:
    """The image as PNG in base64."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def synthetic_image() -> "Image":
    """A small picture that is not of one colour, for warming: a gradient."""
    from PIL import Image

    return Image.linear_gradient("L").resize((96, 64)).convert("RGB")
