"""Requests that nobody makes in good faith: paths of odd parts, by any method."""

import http.client
import random
import urllib.parse
from collections.abc import Iterator, Sequence

REFUSALS = {400, 403, 404, 405, 409, 413, 415}
PARTS = [
    "..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e%2fserver.log", "..%5c..", ".", "%00", "a%00b", "%ff", "*", "-1", "0",
    "00", "1e3", "0x0", "999999999", "9999999999999", "+1", "\u0661", "x" * 200, "'\"<script>", "%252e%252e", ";",
    "~", "con", "nul", "000000.pack", "/etc/passwd", "%2fetc%2fpasswd", "{stream_id}", "?", "#", " ", "🎬",
]  # fmt: skip
_METHODS = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE"]
_COUNT = 2000


def ask(server, method, path, body=None, **headers):
    """Status, headers and body of a request that no well-meaning client would send."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def ask_odd_paths(
    server, route: str, true: Sequence[str], odd: Sequence[str]
) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Two thousand paths below `route`, with odd parts in place of the true ones and behind them.

    Yields path, headers and body of every GET that is answered with 200; everything else must be refused, and some
    paths must lead nowhere.
    """
    source, found = random.Random(0), set()
    for _ in range(_COUNT):
        parts = list(true)
        for _ in range(source.randint(1, 3)):
            place = source.randrange(len(parts))
            parts[place : place + source.randint(0, 1)] = [source.choice(odd)]
        path = f"{route}/" + "/".join(parts)
        method = source.choice(_METHODS)
        encoded = urllib.parse.quote(path, safe="/%?#~'*{};:+")
        status, headers, body = ask(server, method, encoded, b"{}" if method != "GET" else None)
        found.add(status)
        assert status in REFUSALS | {200}, (method, path, status)
        if status == 200 and method == "GET":
            assert headers["Cache-Control"] == "no-store", path
            yield path, headers, body
    assert 404 in found
