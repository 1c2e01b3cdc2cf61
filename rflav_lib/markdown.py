"""Tables as Markdown, for pages and terminals."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A line for the head, one below it, and one a row; each has as many cells as the head."""
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
