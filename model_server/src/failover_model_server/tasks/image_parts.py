"""The parts of an encoded image, found before anything is decoded: they are counted, and only those that make pixels reach the decoder.

The size in the header bounds the pixels, not the work. A progressive JPEG is decoded by passing over all of its coefficients once for
each scan, and a scan takes ten bytes. Pillow reads metadata in Python, part by part, and keeps for each EXIF tag a copy of the bytes that
the tag points to: a PNG of 8 MiB could have it copy 7 MiB 65,535 times. The orientation is the only metadata that changes an answer, and
it is read here.
"""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from failover_model_server.errors import InputTooLarge, InvalidRequest

UNREADABLE = "image: not a JPEG, PNG or WebP image that can be read"
UPRIGHT = 1
"""The orientation of a picture that is not to be turned. Others are 2 to 8, as in EXIF."""
ORIENTATION, SHORT = 0x0112, 3
"""Tag and type of the orientation in EXIF (CIPA DC-008, 4.6.4)."""
MOST_TAGS = 512
"""The most EXIF tags that are read. Cameras write some fifty."""
SCAN = b"\xda"


class Part(NamedTuple):
    """Bytes of a file."""

    kind: bytes
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Limit:
    """The most parts of these kinds that an image may have."""

    what: str
    """Their name in an error."""
    kinds: frozenset[bytes] | None
    """None: every part counts."""
    most: int
    why: str


@dataclass(frozen=True, slots=True)
class Form:
    """A format: how to find its parts, and what becomes of them."""

    name: str
    """As Pillow has it."""
    begins: re.Pattern[bytes]
    """Matches what comes before the first part."""
    split: Callable[[bytes, int], Iterator[Part]]
    """The parts of a file from a place on."""
    pixels: frozenset[bytes]
    """Kinds of parts that reach the decoder."""
    exif: bytes
    """Kind of the part with EXIF data."""
    limits: tuple[Limit, ...]


class Encoded(NamedTuple):
    """An image whose decoding has a bound."""

    form: str
    data: bytes
    orientation: int


def encoded(data: bytes) -> Encoded:
    """The image, without what makes no pixels.

    Raises:
        InvalidRequest: another format.
        InputTooLarge: it has more of something than the table allows.
    """
    found = ((form, begin) for form in FORMS if (begin := form.begins.match(data)))
    form, begin = next(found, (None, None))
    if form is None or begin is None:
        raise InvalidRequest(UNREADABLE)
    counts: Counter[Limit] = Counter()
    kept, orientation = [], UPRIGHT
    for part in form.split(data, begin.end()):
        for limit in form.limits:
            counts[limit] += limit.kinds is None or part.kind in limit.kinds
            if counts[limit] > limit.most:
                raise InputTooLarge(f"image: {form.name} with more than {limit.most} {limit.what}")
        if part.kind in form.pixels:
            kept.append(data[part.begin : part.end])
        elif part.kind == form.exif and orientation == UPRIGHT:
            orientation = _orientation(data[part.begin : part.end])
    content = b"".join(kept)
    head = begin[0] if form is not WEBP else b"RIFF" + struct.pack("<I", len(content) + len(b"WEBP")) + b"WEBP"
    return Encoded(form.name, head + content, orientation)


def _orientation(part: bytes) -> int:
    """The orientation that the first directory of TIFF data says; upright where it says none."""
    begin = re.search(rb"II\*\0|MM\0\*", part)
    if begin is None:
        return UPRIGHT
    tiff, order = part[begin.start() :], "<" if begin[0].startswith(b"I") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(min(count, MOST_TAGS)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * number)
            if tag == ORIENTATION:
                return int(value) if kind == SHORT else UPRIGHT
    except struct.error:  # the data end before what they point to
        pass
    return UPRIGHT


def _segments(data: bytes, at: int) -> Iterator[Part]:
    """Of a JPEG, by marker: the segments before the image, then its scans, each to the next (ITU-T T.81, B.1).

    Within a scan 0xFF is followed by 0 or the number of a restart, so that what looks like the begin of a scan is one, or is in a segment
    between two. Fill bytes and what is no segment are parts too, of the kind that they begin with.
    """
    while 0 <= at < len(data) - 1:
        kind = data[at + 1 : at + 2]
        if data[at] != 0xFF:  # noqa: PLR2004 - every marker begins so
            end = data.find(b"\xff", at)
            kind = b""
        elif kind == SCAN:
            end = data.find(b"\xff\xda", at + 2)
        elif kind == b"\xff":
            end = at + 1
        elif kind[0] <= 1 or 0xD0 <= kind[0] <= 0xD9:  # noqa: PLR2004 - those without a length
            end = at + 2
        else:
            end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        yield Part(kind, at, len(data) if end < 0 else end)
        at = end


def _chunks(data: bytes, at: int) -> Iterator[Part]:
    """Of a PNG (ISO/IEC 15948, 5.3): length, kind, content, checksum."""
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield Part(data[at + 4 : at + 8], at, end)
        at = end


def _riff(data: bytes, at: int) -> Iterator[Part]:
    """Of a WebP (RFC 9649, 2.3): kind, length, content, a byte where the length is odd."""
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        yield Part(data[at : at + 4], at, end)
        at = end


JPEG = Form(
    "JPEG",
    re.compile(rb"\xff\xd8(?=\xff)"),
    _segments,
    # Tables, frames, JFIF and Adobe's transform. Not arithmetic coding, which no browser reads: it makes work of bits that are not there.
    frozenset({b"\xc0", b"\xc1", b"\xc2", b"\xc4", b"\xdb", b"\xdd", b"\xe0", b"\xee", SCAN}),
    b"\xe1",
    (
        Limit("segments", None, 400, "A step in Python each. 8 MiB hold 128 of full length."),
        Limit("scans", frozenset({SCAN}), 64, "A pass over all coefficients each. libjpeg and mozjpeg write 10 to 13."),
    ),
)
PNG = Form(
    "PNG",
    re.compile(rb"\x89PNG\r\n\x1a\n"),
    _chunks,
    # Neither the frames of an animation nor text: Pillow decompresses up to a megabyte for each kilobyte of iCCP, zTXt and iTXt.
    frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}),
    b"eXIf",
    (Limit("chunks", None, 16_384, "A step in Python each. libpng writes one for 8 KiB of an image: 1,024 in 8 MiB."),),
)
WEBP = Form(
    "WEBP",
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    _riff,
    frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}),
    b"EXIF",
    (Limit("chunks", None, 4_096, "A step in Python each. Every frame of an animation is one, of which the first is decoded."),),
)
FORMS = (JPEG, PNG, WEBP)
"""What is read, with what is counted beside the pixels. Restart markers, interlacing and filters cost no more than bytes and pixels do."""
