"""Hosts that lie, break off or are slow, and caches that are damaged or cannot be written."""

import contextlib
import hashlib
import http.server
import os
import pathlib
import threading
import time

from damage.case import Case
from zoo import download, weights_store

FILE = "w.npz"
DATA = bytes(range(256)) * 400
ENTRY = {"file": FILE, "sha256": hashlib.sha256(DATA).hexdigest(), "bytes": len(DATA)}


class _Host(http.server.BaseHTTPRequestHandler):
    """Answers as the server's `behave(handler, start)` does; `start` is where the client goes on."""

    def do_GET(self):
        """Answer a request, and note where it began."""
        wanted = self.headers.get("Range", "bytes=0-")
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.server.starts.append(start)
        with contextlib.suppress(OSError):
            self.server.behave(self, start)

    def send(self, data, *, code=200, length=None, **headers):
        """Send a status, headers and a body."""
        self.send_response(code)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def host(behave):
    """Serve on a free port; yields `(address, starts)`, where each request wanted to begin."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Host)
    server.daemon_threads = True
    server.behave, server.starts = behave, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.starts
    finally:
        server.shutdown()
        server.server_close()


def drip(handler, start):
    """Send a byte every fifth of a second."""
    handler.send(b"", length=len(DATA))
    for number in range(1000):
        handler.wfile.write(DATA[number : number + 1])
        handler.wfile.flush()
        time.sleep(0.2)


def drip_headers(handler, start):
    """Send a header that never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(1000):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.2)


def half(handler, start):
    """Break off in the middle, and go on where the client asks, as a good host does."""
    rest = DATA[start:]
    if start:
        span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        handler.send(rest, code=206, Content_Range=span)
    else:
        handler.send(rest[: len(rest) // 2], length=len(rest))


def _half_without_ranges(handler, start):
    handler.send(DATA if start else DATA[: len(DATA) // 2], length=len(DATA))


def _half_and_another_place(handler, start):
    code = {"code": 206, "Content_Range": f"bytes 0-9/{len(DATA)}"} if start else {}
    handler.send(DATA if start else DATA[: len(DATA) // 2], length=len(DATA), **code)


_HOSTS = {
    "an honest host": (lambda h, start: h.send(DATA), True),
    "a host that breaks off once": (half, True),
    "a host that breaks off and knows no ranges": (_half_without_ranges, True),
    "a host that goes on elsewhere": (_half_and_another_place, None),
    "a host that always breaks off": (lambda h, start: h.send(DATA[:100], length=len(DATA)), False),
    "not found": (lambda h, start: h.send(b"404", code=404), False),
    "forbidden": (lambda h, start: h.send(b"403", code=403), False),
    "out of order": (lambda h, start: h.send(b"500", code=500), False),
    "a page of HTML": (lambda h, start: h.send(b"<html>Sign in</html>"), False),
    "other content of the right size": (lambda h, start: h.send(bytes(len(DATA))), False),
    "one bit flipped": (lambda h, start: h.send(b"\1" + DATA[1:]), False),
    "a byte too many": (lambda h, start: h.send(DATA + b"x"), False),
    "more than it states": (lambda h, start: h.send(DATA * 3, length=len(DATA)), True),
    "a terabyte stated": (lambda h, start: h.send(DATA, length=2**40), False),
    "an empty answer": (lambda h, start: h.send(b""), False),
    "no HTTP": (lambda h, start: h.wfile.write(b"220 ftp ready\r\n"), False),
    "a length that is no number": (lambda h, start: h.send(DATA, length="many"), None),
    "a redirect to a file": (
        lambda h, start: h.send(b"", code=302, Location="file:///etc/passwd"),
        False,
    ),
    "a redirect to itself": (lambda h, start: h.send(b"", code=302, Location=f"/{FILE}"), False),
}


def _read(folder, address, *, home=None):
    """Read with an own, empty place beside the cards and an own cache."""
    kept, weights_store.ROOT = weights_store.ROOT, folder / "none"
    environment = os.environ.get("SHAREDKERAS_HOME")
    os.environ["SHAREDKERAS_HOME"] = str(home or folder)
    try:
        return weights_store.read(ENTRY, zoo_url=address)
    finally:
        weights_store.ROOT = kept
        os.environ.pop("SHAREDKERAS_HOME")
        if environment is not None:
            os.environ["SHAREDKERAS_HOME"] = environment


def _through(folder, behave, must_work):
    def act():
        with host(behave) as (address, _):
            data = _read(folder, address)
        left = [p for p in folder.rglob("*") if p.is_file() and p.read_bytes() != DATA]
        return data, left

    def is_right(result):
        return must_work is not False and result == (DATA, [])

    return act, is_right


def _slow(behave):
    with host(behave) as (address, _):
        return download.fetch(f"{address}/{FILE}", len(DATA), time_limit=1.0)


def cases(folder):
    """Yield hosts and caches of every kind."""
    for number, (name, (behave, must_work)) in enumerate(_HOSTS.items()):
        act, is_right = _through(folder / str(number), behave, must_work)
        yield Case(name, act, FILE, is_right)
    yield Case("a byte every fifth of a second", lambda: _slow(drip), FILE)
    yield Case("a header without an end", lambda: _slow(drip_headers), FILE)
    yield Case("nobody there", lambda: _read(folder / "nobody", "http://127.0.0.1:9"), FILE)
    for address in ("ftp://x", "data:,x", "javascript:x", "x", "http://"):
        yield Case(f"the address {address!r}", lambda a=address: _read(folder / "odd", a), FILE)
    remote = folder / "remote"
    remote.mkdir()
    (remote / FILE).write_bytes(DATA)
    cached = f"{ENTRY['sha256'][:16]}-{FILE}"
    for name, damage in (("cut", DATA[:9]), ("empty", b""), ("other content", bytes(len(DATA)))):
        home = folder / f"cache {name}"
        (home / "zoo").mkdir(parents=True)
        (home / "zoo" / cached).write_bytes(damage)

        def act(home=home):
            data = _read(folder, remote.as_uri(), home=home)
            return data, (home / "zoo" / cached).read_bytes()

        yield Case(f"a cached file that is {name}", act, cached, lambda found: found == (DATA, DATA))
        alone = folder / f"cache without an address {name}"
        (alone / "zoo").mkdir(parents=True)
        (alone / "zoo" / cached).write_bytes(damage)
        yield Case(
            f"a cached file that is {name}, without an address",
            lambda home=alone: _read(folder, None, home=home),
            cached,
        )
    home = folder / "cache is a directory"
    (home / "zoo" / cached).mkdir(parents=True)
    yield Case(
        "a directory for a cached file",
        lambda: _read(folder, remote.as_uri(), home=home),
        cached,
        lambda data: data == DATA,
    )
    file = folder / "a file"
    file.write_bytes(b"x")
    yield Case(
        "a cache that cannot be made",
        lambda: _read(folder, remote.as_uri(), home=file),
        FILE,
        lambda data: data == DATA,
    )
    yield Case(
        "no home directory", lambda: _homeless(folder, remote.as_uri()), FILE, lambda data: data == DATA
    )


def _homeless(folder, address):
    def home():
        raise RuntimeError("Could not determine home directory.")

    kept, pathlib.Path.home = pathlib.Path.home, home
    root, weights_store.ROOT = weights_store.ROOT, folder / "none"
    environment = os.environ.pop("SHAREDKERAS_HOME", None)
    try:
        return weights_store.read(ENTRY, zoo_url=address)
    finally:
        pathlib.Path.home, weights_store.ROOT = kept, root
        if environment is not None:
            os.environ["SHAREDKERAS_HOME"] = environment
