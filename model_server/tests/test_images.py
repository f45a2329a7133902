"""Images that clients send: what is decoded, what is fetched, and what is refused before it costs anything."""

import base64
import contextlib
import io
import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from failover_model_server.errors import InputTooLarge, InvalidRequest, RequestError
from failover_model_server.settings import Settings
from failover_model_server.tasks import fetching
from failover_model_server.tasks.images import read_image

pytest.importorskip("PIL", reason="Pillow comes with the extras torch and ui")

from PIL import Image, ImageFile

ORIENTATION = 0x0112
FORMS = ["JPEG", "PNG", "WEBP"]
OK = b"HTTP/1.1 200 OK\r\n"
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"]
PRIVATE += ["::1", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1"]
Answer = Callable[[BaseHTTPRequestHandler], None]


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


@pytest.mark.parametrize("wrong", ["not base64!", "abc", "data:image/png;base64,%%%", "é", "file:///etc/passwd", "ftp://x/y"])
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


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server on loopback: its origin, and the requested paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            with contextlib.suppress(ConnectionError):  # the client has had enough
                answer(self)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", asked
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def sends(data: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def sends_raw(data: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)

    return answer


def endlessly(begin: bytes, part: bytes, stop: threading.Event) -> Answer:
    """Send `part` again and again, until the client goes away or the test says so."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(begin)
        while not stop.wait(0.0 if len(part) > 1 else 0.02):
            handler.wfile.write(part)

    return answer


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def refused(url: str, *hosts: str) -> str:
    """The message with which a URL is refused."""
    with pytest.raises(InvalidRequest) as error:
        read_image(url, settings(url_allow_list=hosts))
    return str(error.value)


def test_an_image_of_an_allowed_origin_is_fetched() -> None:
    """Path and query reach the server as they were sent."""
    with server(sends(encoded())) as (origin, asked):
        assert read_image(f"{origin}/a/b.png?x=1&y=%20", settings(url_allow_list=(origin,))).size == (4, 2)
    assert asked == ["/a/b.png?x=1&y=%20"]


def test_nothing_is_fetched_unless_its_host_is_allowed() -> None:
    """No list, another port, another scheme, a name inside user info, a longer name: none reaches a server."""
    with server(sends(encoded())) as (origin, asked):
        host = origin.removeprefix("http://")
        assert "not fetched" in refused(f"{origin}/x")
        for url, entry in [
            (f"{origin}/x", "127.0.0.1"),
            (f"{origin}/x", host),  # a bare entry means https
            (f"{origin}/x", "http://127.0.0.1:1"),
            (f"http://allowed.example@{host}/x", "http://allowed.example"),
            ("https://allowed.example.evil.example/x", "allowed.example"),
            ("https://allowed.example:8443/x", "allowed.example"),
            ("https://sub.allowed.example/x", "allowed.example"),
        ]:
            assert "not fetched" in refused(url, entry)
        assert asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """An allowed host cannot send the server on, to an address inside the network or anywhere else."""
    with server(sends(encoded())) as (inside, asked), server(sends(b"", status, Location=f"{inside}/secret")) as (origin, first):
        assert "could not be fetched" in refused(f"{origin}/x", origin)
        assert (first, asked) == (["/x"], [])


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allowed name of which one address is loopback, private, or where the instance's credentials are, is not connected to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    answers = [(family, socket.SOCK_STREAM, 6, "", (place, 443)) for place in ("93.184.215.14", address)]
    connected: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    monkeypatch.setattr(socket.socket, "connect", lambda _, where: connected.append(where))
    assert "could not be fetched" in refused("https://allowed.example/x", "allowed.example")
    assert connected == []


def test_localhost_by_name_is_refused() -> None:
    """Only an address that the operator wrote as an address may lead inside."""
    with server(sends(encoded())) as (origin, asked):
        named = origin.replace("127.0.0.1", "localhost")
        assert "could not be fetched" in refused(f"{named}/x", named)
        assert asked == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name itself, out of sight of the check of the address."""
    with server(sends(encoded())) as (origin, asked), server(sends(encoded())) as (proxy, through):
        monkeypatch.setenv("http_proxy", proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        read_image(f"{origin}/x", settings(url_allow_list=(origin,)))
        assert (asked, through) == (["/x"], [])


@pytest.mark.parametrize("length", [b"", b"Content-Length: 1099511627776\r\n"])
def test_a_body_that_is_too_large_is_cut_off(length: bytes, stop: threading.Event) -> None:
    """A body without an end is read up to the limit and no further, whether its length is declared or not."""
    with server(endlessly(OK + length + b"\r\n", b"x" * 65536, stop)) as (origin, _), pytest.raises(InputTooLarge, match="100000 bytes"):
        read_image(f"{origin}/x", settings(url_allow_list=(origin,)))


@pytest.mark.parametrize("begin", [OK + b"X-Slow: ", OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_server_that_drips_is_given_up(begin: bytes, stop: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is that of the whole fetch: a byte now and then, in headers, body or a chunk's length, does not extend it."""
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.3)
    with server(endlessly(begin, b"0", stop)) as (origin, _):
        try:
            assert "could not be fetched" in refused(f"{origin}/x", origin)
        finally:
            stop.set()


@pytest.mark.parametrize("reply", [b"", b"nonsense\r\n\r\n", OK + b"X: y\r\n" * 200 + b"\r\n", OK + b"Content-Length: 50\r\n\r\nshort"])
def test_a_server_that_speaks_no_http_is_the_requests_error(reply: bytes) -> None:
    """What an allowed host answers cannot make the server fail."""
    with server(sends_raw(reply)) as (origin, _):
        assert "image" in refused(f"{origin}/x", origin)


@pytest.mark.parametrize("status", [206, 404, 500])
def test_only_a_whole_success_is_an_image(status: int) -> None:
    """The picture on an error page is not what the client meant."""
    with server(sends(encoded(), status)) as (origin, _):
        assert "could not be fetched" in refused(f"{origin}/x", origin)


@pytest.mark.parametrize("url", ["http://[", "http://[::1/x", "https://allowed.example:port/x", "http://", "https:///x"])
def test_a_url_that_is_none_is_the_requests_error(url: str) -> None:
    """Refused in words, not by an exception of a library."""
    assert "image" in refused(url, "allowed.example")


@pytest.mark.parametrize("path", ["/a b", "/\x7f", "/é"])
def test_a_path_that_cannot_be_sent_is_the_requests_error(path: str) -> None:
    """The same for what only the HTTP client finds wrong."""
    with server(sends(encoded())) as (origin, asked):
        assert "could not be fetched" in refused(origin + path, origin)
        assert asked == []
