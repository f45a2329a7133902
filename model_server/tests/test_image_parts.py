"""What decoding an image may cost is known before it is decoded: from its parts, in a file of any size."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from failover_model_server.errors import InputTooLarge, InvalidRequest
from failover_model_server.settings import Settings
from failover_model_server.tasks.image_parts import FORMS, JPEG, MOST_TAGS, PNG, SCAN, WEBP, Limit, encoded
from failover_model_server.tasks.images import read_image

pytest.importorskip("PIL", reason="Pillow comes with the extras torch and ui")

from PIL import Image, ImageFile, ImageOps

from tests.test_images import ORIENTATION, text


def picture(mode: str = "RGB") -> Image.Image:
    """No two of its quarters are alike, so that every turn shows."""
    image = Image.radial_gradient("L").resize((48, 32))
    image.paste(255, (0, 0, 12, 8))
    return Image.merge("RGB", (image, Image.linear_gradient("L").resize((48, 32)), image)).convert(mode)


def saved(form: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture(mode).save(buffer, form, **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(scans: int, size: int = 64) -> bytes:
    """A grey progressive JPEG whose scans after the first refine nothing: each has ten bytes of a head and a few of its own."""
    frame = struct.pack(">BHHB", 8, size, size, 1) + b"\x01\x11\0"
    tables = segment(0xC4, b"\0\1" + b"\0" * 15 + b"\0") + segment(0xC4, b"\x10\1" + b"\0" * 15 + b"\xe0")
    first = segment(0xDA, b"\1\1\0\0\0\0") + b"\0" * (size * size // 512)
    more = segment(0xDA, b"\1\1\0\1\x3f\x0d") + b"\x7f\xff"
    return b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC2, frame) + tables + first + more * (scans - 1) + b"\xff\xd9"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    """A PNG with these chunks before its pixels."""
    whole = saved("PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def webp(*chunks: bytes) -> bytes:
    """A WebP with these chunks behind its pixels."""
    content = saved("WEBP")[12:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def greedy_exif(tags: int = 5_000, size: int = 60_000) -> bytes:
    """Each tag points to all of the data: Pillow copies them for every tag, 300 MB for 60 kB."""
    entries = b"".join(struct.pack("<HHII", tag, 7, size - 8, 8) for tag in range(1, tags + 1))
    return b"II*\0\x08\0\0\0" + (struct.pack("<H", tags) + entries).ljust(size, b"\0")


COSTLY: dict[str, tuple[bytes, str]] = {
    "scans": (jpeg(10_000), "JPEG with more than 64 scans"),
    "one scan too many": (jpeg(65), "JPEG with more than 64 scans"),
    "segments": (b"\xff\xd8" + segment(0xFE, b"") * 2_000_000 + saved("JPEG")[2:], "JPEG with more than 400 segments"),
    "fill bytes": (b"\xff\xd8" + b"\xff" * 8_000_000 + saved("JPEG")[2:], "JPEG with more than 400 segments"),
    "escapes": (b"\xff\xd8" + b"\xff\0" * 4_000_000 + saved("JPEG")[2:], "JPEG with more than 400 segments"),
    "PNG chunks": (png(chunk(b"tEXt", b"a\0b") * 20_000), "PNG with more than 16384 chunks"),
    "WebP chunks": (webp(b"XMP \0\0\0\0" * 5_000), "WEBP with more than 4096 chunks"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_costs_more_than_its_pixels_is_refused_before_it_is_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow sees nothing of it, neither of its pixels nor of its metadata; the error names what is counted."""
    data, says = COSTLY[name]

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("Pillow got it")

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(InputTooLarge, match=says):
        read_image(text(data), Settings(max_body_bytes=len(data)))


def test_as_many_scans_as_allowed_are_decoded() -> None:
    """Those that are counted are those that the decoder makes."""
    assert read_image(text(jpeg(64)), Settings()).size == (64, 64)


METADATA: dict[str, Callable[[], bytes]] = {
    "PNG, EXIF": lambda: png(chunk(b"eXIf", greedy_exif())),
    "JPEG, EXIF": lambda: b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + greedy_exif()) + saved("JPEG")[2:],
    "PNG, compressed": lambda: png(
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**6))) * 100, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x"))
    ),
    "JPEG, several pictures": lambda: saved("MPO", save_all=True, append_images=[picture()] * 3),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_do_not_reach_the_decoder(name: str) -> None:
    """They are left out of what Pillow gets, and the picture is read all the same."""
    data = METADATA[name]()
    form, passed, orientation = encoded(data)
    assert (form, orientation) == (name.partition(",")[0], 1)
    with Image.open(io.BytesIO(passed)) as opened:
        opened.load()
        assert not opened.info.keys() & {"exif", "icc_profile", "mp", "mpoffset", "a"}
    assert read_image(text(data), Settings()).size == (48, 32)


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG"),
    "JPEG, progressive": lambda: saved("JPEG", progressive=True, optimize=True),
    "JPEG, grey": lambda: saved("JPEG", "L"),
    "JPEG, CMYK": lambda: saved("JPEG", "CMYK"),
    "JPEG, restarts": lambda: saved("JPEG", restart_marker_blocks=1, subsampling=2),
    "JPEG, with a comment, a profile and a resolution": lambda: saved("JPEG", comment=b"c", icc_profile=b"p" * 200_000, dpi=(300, 300)),
    "JPEG, behind fill bytes and rubbish": lambda: b"\xff\xd8\xff\xff" + saved("JPEG")[2:20] + b"rubbish" + saved("JPEG")[20:],
    "PNG": lambda: saved("PNG", "RGBA"),
    "PNG, palette": lambda: saved("PNG", "P", transparency=0),
    "PNG, 16 bits": lambda: saved("PNG", "I;16"),
    "PNG, one bit": lambda: saved("PNG", "1"),
    "PNG, animated": lambda: saved("PNG", save_all=True, append_images=[picture().rotate(90), picture().rotate(180)]),
    "WEBP": lambda: saved("WEBP"),
    "WEBP, lossless with alpha": lambda: saved("WEBP", "RGBA", lossless=True, icc_profile=b"p" * 1001, xmp=b"x"),
    "WEBP, lossy with alpha": lambda: saved("WEBP", "RGBA"),
    "WEBP, animated": lambda: saved("WEBP", save_all=True, append_images=[picture().rotate(90), picture().rotate(180)]),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_pixels_that_pillow_reads(name: str) -> None:
    """What is left out makes none."""
    data = FILES[name]()
    with Image.open(io.BytesIO(data)) as whole:
        expected = whole.convert("RGB")
    assert read_image(text(data), Settings()).tobytes() == expected.tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientations_are_those_of_exif(form: str, orientation: int) -> None:
    """All eight, and what is none."""
    exif = Image.Exif()
    exif[0x010F], exif[ORIENTATION] = "a camera's name", orientation
    data = saved(form, exif=exif.tobytes())
    with Image.open(io.BytesIO(data)) as whole:
        expected = ImageOps.exif_transpose(whole).convert("RGB")
    assert read_image(text(data), Settings()).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"MM\0*",
        b"MM\0*\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff" + b"\1\0\3\0\1\0\0\0\0\0\0\0" * MOST_TAGS + b"\x12\1\3\0\1\0\0\0\6\0\0\0",
    ],
    ids=["nothing", "a begin", "far away", "cut off", "a text", "too far behind"],
)
def test_exif_that_says_no_orientation_turns_nothing(exif: bytes) -> None:
    assert encoded(png(chunk(b"eXIf", exif))).orientation == 1


def test_arithmetic_coding_is_not_decoded() -> None:
    """No browser reads it, and its decoder makes work out of bits that are not there."""
    data = saved("JPEG").replace(b"\xff\xc0", b"\xff\xc9")
    with pytest.raises(InvalidRequest, match="can be read"):
        read_image(text(data), Settings())


def test_every_format_that_is_read_has_a_limit_with_its_reason() -> None:
    """Formats whose parts are not counted are not offered."""
    limits: list[Limit] = [limit for form in FORMS for limit in form.limits]
    assert [form.name for form in FORMS] == ["JPEG", "PNG", "WEBP"]
    assert all(form.limits for form in (JPEG, PNG, WEBP))
    assert all(limit.why and limit.most < 20_000 for limit in limits)
    assert any(limit.kinds == frozenset({SCAN}) for limit in JPEG.limits)


def test_no_metadata_are_read_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader of EXIF copies without a bound."""

    def read(*_: object) -> None:
        raise AssertionError("Pillow reads EXIF")

    monkeypatch.setattr(Image.Exif, "load", read)
    exif = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    for form in ("JPEG", "PNG", "WEBP"):
        assert read_image(text(saved(form, exif=exif)), Settings()).size == (32, 48)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
