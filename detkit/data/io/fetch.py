"""One file by its web address, into memory: no larger and no slower than allowed, and from the web alone."""

from http.client import HTTPException, HTTPResponse
from time import monotonic
from urllib import request

MAX_BYTES = 64 << 20  # of an image: a photograph has 20 MB at most
TIMEOUT = 20.0  # seconds without a byte until the server is given up
MAX_SECONDS = 120.0  # for all of a file: a server may send a byte now and then for ever
_CHUNK = 1 << 16  # bytes


def fetch(url: str, max_bytes: int = MAX_BYTES, timeout: float = TIMEOUT, max_seconds: float = MAX_SECONDS) -> bytes:
    """The content of the http or https `url`. Raises ValueError with the reason where it cannot be had."""
    asked = monotonic()
    try:
        message = request.Request(url, headers={"User-Agent": "detkit"})
        response: HTTPResponse = _opener().open(message, timeout=timeout)
        with response:
            if response.length is not None and response.length > max_bytes:
                raise OSError(f"has {response.length:,} bytes, at most {max_bytes:,} are fetched")
            data = bytearray()
            while chunk := response.read(_CHUNK):
                data += chunk
                if len(data) > max_bytes:
                    raise OSError(f"has more than the {max_bytes:,} bytes that are fetched")
                if monotonic() - asked > max_seconds:
                    raise OSError(f"only {len(data):,} bytes came in {max_seconds:.0f} seconds")
            if response.length:
                raise OSError(f"the connection ended {response.length:,} bytes too early")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no address at all
        reason = str(error) or type(error).__name__
        raise ValueError(f"{url}: cannot be fetched ({reason}); try it in a browser, and give the saved file") from None
    return bytes(data)


def _opener() -> request.OpenerDirector:
    """Follows addresses of the web only. The one of urllib.request.urlopen opens file: and data: too."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
