"""The local server, for the scripts that fetch."""

from tests.local_server import server

__all__ = ["server"]
