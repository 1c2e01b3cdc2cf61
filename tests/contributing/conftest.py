"""The local server, for the dataset that is fetched."""

from tests.local_server import server

__all__ = ["server"]
