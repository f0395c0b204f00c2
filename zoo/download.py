"""Fetching a file of known size from a host that may be slow, lie, or break off.

`urllib` rather than a download library: those that we know (pooch among them) bound neither the bytes
nor the total time, and do not go on where a connection broke off.
"""

import http.client
import threading
import time
import urllib.error
import urllib.request

_ATTEMPTS = 3
_PAUSE = 0.5  # Seconds before the second attempt; doubled before the third.
_SILENCE = 30.0  # Seconds without a byte after which an attempt ends.
_SLOWEST = 50_000  # Bytes a second below which a host counts as absent.
_CHUNK = 1 << 16
_SCHEMES = ("http", "https", "file")


def fetch(address, size, *, time_limit=None):
    """Return the content of an address, which must be of a size known beforehand.

    An attempt that breaks off is repeated twice and goes on where the one before ended.

    Args:
        address: str, http, https or file.
        size: int, bytes; no more are read.
        time_limit: seconds for everything; by default a minute and what the size takes at 50 kB/s.

    Returns:
        Bytes, `size` of them.

    Raises:
        FileNotFoundError: if the host does not give the content in that time.
        ValueError: if the content is of another size, or the address of another kind.
    """
    scheme = address.partition(":")[0].lower()
    if scheme not in _SCHEMES:
        raise ValueError(f"An address must begin with one of {_SCHEMES}. Received: {address}")
    time_limit = 60 + size / _SLOWEST if time_limit is None else time_limit
    download = _Download(address, size, time.monotonic() + time_limit)
    # In a thread, because no time-out applies to looking up a host's name or to a slow header.
    thread = threading.Thread(target=download.run, daemon=True)
    thread.start()
    try:
        thread.join(time_limit)
    finally:
        download.stopped.set()
    if thread.is_alive():
        raise _absent(address, f"no end after {time_limit:.0f} s")
    if download.error is not None:
        raise download.error
    return bytes(download.data)


class _Download:
    """What one call has fetched so far."""

    def __init__(self, address, size, deadline):
        self.address = address
        self.size = size
        self.deadline = deadline
        self.data = bytearray()
        self.error = None
        self.stopped = threading.Event()

    def run(self):
        """Fetch, several times if need be; an error is kept for the caller."""
        # A file does not come into being by waiting.
        attempts = 1 if self.address.lower().startswith("file:") else _ATTEMPTS
        for attempt in range(attempts):
            try:
                self._attempt()
                self.error = None
                return
            except ValueError as error:
                self.error = error
                return
            except urllib.error.HTTPError as error:
                self.error = _absent(self.address, error)
                error.close()
                if error.code < 500 and error.code not in (408, 416, 429):
                    return
                self.data.clear()
            except (OSError, http.client.HTTPException) as error:
                self.error = _absent(self.address, error)
            if attempt + 1 < attempts and self.stopped.wait(_PAUSE * 2**attempt):
                return

    def _attempt(self):
        request = urllib.request.Request(self.address)
        if self.data:
            request.add_header("Range", f"bytes={len(self.data)}-")
        left = max(self.deadline - time.monotonic(), 0.1)
        with urllib.request.urlopen(request, timeout=min(_SILENCE, left)) as answer:
            if self.data and not self._goes_on(answer):
                self.data.clear()
            stated = answer.headers.get("Content-Length", "")
            if stated.isdigit() and len(self.data) + int(stated) != self.size:
                raise self._wrong_size(len(self.data) + int(stated))
            while not self.stopped.is_set():
                part = answer.read1(_CHUNK)
                if not part:
                    break
                self.data += part
                if len(self.data) > self.size:
                    raise self._wrong_size(f"more than {self.size:,}")
        if len(self.data) < self.size:
            raise ConnectionError(f"it broke off after {len(self.data):,} of {self.size:,} bytes")

    def _goes_on(self, answer):
        begins = f"bytes {len(self.data)}-"
        return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(begins)

    def _wrong_size(self, size):
        return ValueError(
            f"The content is not what was expected: {self.size:,} bytes. "
            f"Received: {size} bytes at {self.address}"
        )


def _absent(address, reason):
    return FileNotFoundError(
        f"Expected a file, which could not be fetched: {reason}. Received: {address}"
    )
