"""Downloads: resumed, bounded in bytes and in time, and not repeated in vain."""

import time

import pytest
from damage.groups import downloads
from damage.groups.downloads import DATA, FILE, host

from zoo.download import fetch

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_goes_on_where_it_broke_off():
    with host(downloads.half) as (address, starts):
        assert fetch(f"{address}/{FILE}", len(DATA)) == DATA
    assert starts == [0, len(DATA) // 2]


def test_starts_anew_where_the_host_knows_no_ranges():
    def behave(handler, start):
        handler.send(DATA if len(handler.server.starts) > 1 else DATA[:50], length=len(DATA))

    with host(behave) as (address, starts):
        assert fetch(f"{address}/{FILE}", len(DATA)) == DATA
    assert starts == [0, 50]


@pytest.mark.parametrize(("code", "attempts"), [(404, 1), (403, 1), (500, 3), (503, 3), (429, 3)])
def test_only_what_may_pass_is_tried_again(code, attempts):
    with (
        host(lambda handler, start: handler.send(b"", code=code)) as (address, starts),
        pytest.raises(FileNotFoundError, match=f"{code}.*{address}"),
    ):
        fetch(f"{address}/{FILE}", len(DATA))
    assert len(starts) == attempts


@pytest.mark.parametrize("behave", [downloads.drip, downloads.drip_headers])
def test_time_is_bounded(behave):
    began = time.monotonic()
    with (
        host(behave) as (address, _),
        pytest.raises(FileNotFoundError, match=f"no end after 1 s.*{address}"),
    ):
        fetch(f"{address}/{FILE}", len(DATA), time_limit=1.0)
    assert time.monotonic() - began < 5


def test_bytes_are_bounded():
    sent = []

    def behave(handler, start):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(bytes(10**5))
            sent.append(1)

    with host(behave) as (address, _), pytest.raises(ValueError, match=r"102,400 bytes.*more than"):
        fetch(f"{address}/{FILE}", len(DATA))
    assert len(sent) < 500


def test_a_size_that_is_not_the_cards_is_refused_before_the_content():
    with (
        host(lambda handler, start: handler.send(b"", length=2**40)) as (address, starts),
        pytest.raises(ValueError, match=str(2**40)),
    ):
        fetch(f"{address}/{FILE}", len(DATA))
    assert len(starts) == 1
