"""Images that clients send: what is decoded, and what is refused before it costs anything."""

import base64
import contextlib
import io
import random
import struct
import zlib
from typing import Any

import pytest
from failover_model_server.errors import InputTooLarge, InvalidRequest, RequestError
from failover_model_server.settings import Settings
from failover_model_server.tasks.images import read_image

pytest.importorskip("PIL", reason="Pillow comes with the extra torch")

from PIL import Image, ImageFile

ORIENTATION = 0x0112
FORMS = ["JPEG", "PNG", "WEBP"]


def settings(**values: Any) -> Settings:
    return Settings.model_validate({"max_body_bytes": 100_000, "max_pixels": 10_000, **values})


def encoded(size: tuple[int, int] = (4, 2), form: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """A picture that is red on the left and blue on the right."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, format=form, **options)
    return buffer.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large, without pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("prefix", ["", "data:image/any;base64,"])
def test_the_allowed_formats_are_read(form: str, prefix: str) -> None:
    """Base64 and data: URLs of each format give an RGB image."""
    image = read_image(prefix + text(encoded((40, 20), form)), settings())
    assert (image.mode, image.size) == ("RGB", (40, 20))


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_formats_are_refused(form: str) -> None:
    """Decoders that nobody needs are not offered to strangers."""
    with pytest.raises(InvalidRequest, match="not a JPEG, PNG or WebP"):
        read_image(text(encoded((16, 16), form)), settings())


@pytest.mark.parametrize(
    "wrong", ["not base64!", "abc", "data:image/png;base64,%%%", "é", "file:///etc/passwd", "ftp://x/y", "https://images.example/a.png"]
)
def test_wrong_base64_is_refused(wrong: str) -> None:
    """The error says what is allowed and does not repeat what was sent."""
    with pytest.raises(InvalidRequest, match="must be base64") as error:
        read_image(wrong, settings())
    assert wrong not in str(error.value)


@pytest.mark.parametrize("size", [0, 3, 40, 300])
@pytest.mark.parametrize("form", FORMS)
def test_a_part_of_an_image_is_refused(form: str, size: int) -> None:
    """A file that is cut off is the client's error."""
    whole = encoded((90, 90), form)
    with pytest.raises(InvalidRequest, match="can be read"):
        read_image("data:," + text(whole[: min(size, len(whole) // 2)]), settings())


@pytest.mark.parametrize("form", FORMS)
def test_the_pixel_limit_is_exact(form: str) -> None:
    """As many pixels as the setting says, and not one row more."""
    assert read_image(text(encoded((100, 100), form)), settings()).size == (100, 100)
    with pytest.raises(InputTooLarge, match="100 x 101 pixels; at most 10000"):
        read_image(text(encoded((100, 101), form)), settings())


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(101, 100), (10_000, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes that claim gigabytes of pixels are too large, also beyond Pillow's own limits, and no decoder sees them."""
    decoded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded.append)
    with pytest.raises(InputTooLarge, match="pixels"):
        read_image(text(bomb(*size)), settings())
    assert decoded == []


@pytest.mark.parametrize("size", [(1, 101), (101, 1), (1, 10_000), (1, 65), (130, 2)])
def test_a_side_that_is_too_long_is_refused_before_it_is_decoded(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A strip of few pixels: what scales its shorter side makes gigabytes of it."""
    decoded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded.append)
    with pytest.raises(InputTooLarge, match="at most 100, and at most 64 times the other"):
        read_image(text(bomb(*size)), settings(max_side=100))
    assert decoded == []


def test_a_side_may_be_as_long_as_the_setting_says() -> None:
    """64 times as long as the other, and not one more."""
    assert read_image(text(encoded((128, 2))), settings(max_side=128)).size == (128, 2)
    with pytest.raises(InputTooLarge, match="129 x 3"):
        read_image(text(encoded((129, 3))), settings(max_side=128))


def test_the_size_limit_is_exact() -> None:
    """Bytes are counted after base64."""
    data = encoded()
    assert read_image(text(data), settings(max_body_bytes=len(data)))
    with pytest.raises(InputTooLarge, match=f"more than {len(data) - 1} bytes"):
        read_image(text(data), settings(max_body_bytes=len(data) - 1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (64, 32), (8, 16)), (2, (64, 32), (56, 16)), (3, (64, 32), (56, 16)), (6, (32, 64), (16, 8)), (8, (32, 64), (16, 56))],
)
def test_images_are_turned_upright(form: str, orientation: int, size: tuple[int, int], red: tuple[int, int]) -> None:
    """A photograph taken with the camera on its side is seen as its owner sees it: the red half is where EXIF says."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = read_image(text(encoded((64, 32), form, exif=exif.tobytes())), settings())
    assert image.size == size
    colour: Any = image.getpixel(red)
    assert colour[0] > 200
    assert colour[2] < 60


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")  # of Pillow, about what is damaged
@pytest.mark.parametrize("form", FORMS)
def test_damaged_images_are_the_clients_error(form: str) -> None:
    """Whatever is wrong in a file, its EXIF data included, the answer is an image or an error of the request; never one of the server."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    whole, dice = encoded((16, 8), form, exif=exif.tobytes()), random.Random(form)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        with contextlib.suppress(RequestError):
            assert read_image(text(bytes(damaged)), settings()).mode == "RGB"
