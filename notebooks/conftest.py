"""What strict nbval leaves out in notebooks, beside its own list (images, widget ids) and tests/sanitize.cfg."""

from typing import Any


def pytest_collectstart(collector: Any) -> None:
    """Skip text/html: players carry an encoded video, whose bytes differ between builds of the same codec.

    What a player shows is still compared: every object that displays itself also states its facts as text/plain.
    """
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html",)
