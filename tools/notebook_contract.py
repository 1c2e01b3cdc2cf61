"""What every committed notebook keeps to, so that strict nbval means something and a reader is not let down.

nbval compares nothing for a cell without an execution count, cannot see a trailing semicolon, and would compare
timings and paths: each rule here closes such a gap. `problems` is used by the tests and by execute_notebooks.py.

    python tools/notebook_contract.py notebooks/04_fusion_blocks.ipynb [more.ipynb ...]     # as before a commit
"""

import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

MAX_BYTES = 2_000_000
MAX_IGNORED_SHARE = 0.25
MAX_CELLS = 45  # more than that nobody steps through in one sitting

IGNORING = {"nbval-ignore-output", "nbval-skip"}
IGNORING_COMMENTS = re.compile(r"^\s*#\s*(NBVAL_|PYTEST_VALIDATE_)\w+", re.MULTILINE)
RAISING = {"raises-exception", "nbval-raises-exception"}
RUN_METADATA = ("widgets", "papermill")
CELL_RUN_METADATA = ("execution", "papermill", "ExecuteTime")

GOAL = re.compile(r"\*\*Goal\.\*\* \w")
COST = re.compile(r"^\*\*Cost\.\*\* .*", re.MULTILINE)
TIME = re.compile(r"\b(seconds?|minutes?|hours?)\b")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")  # to a file beside the notebook, not to the web
MEMORY = re.compile(r"\b\d+(\.\d+)? ?(GB|MB)\b")
BASE64 = re.compile(r"base64,\s*[A-Za-z0-9+/=\s]+")
LOCAL_PATH = re.compile(r"(/home/|/root/|/Users/|/tmp/|/var/folders/|[A-Z]:\\{1,2}Users\\)[\w.~-]*")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", ()))


def smoke_parameters(notebook: NotebookNode) -> dict[str, object]:
    """The small values with which the notebook is tried out: its metadata `rflav.smoke`.

    Raises:
        ValueError: there are none. `{}` says that the notebook is small as it is.
    """
    smoke = notebook.metadata.get("rflav", {}).get("smoke")
    if not isinstance(smoke, dict):
        raise ValueError('no smoke parameters: give the notebook the metadata {"rflav": {"smoke": {...}}}')
    return dict(smoke)


def problems(path: Path, folder: Path | None = None) -> list[str]:
    """Everything in which the notebook breaks the contract; empty if it keeps it.

    Args:
        path: the notebook.
        folder: where it belongs, if it does not lie there yet: links start from there.
    """
    notebook, folder = nbformat.read(path, as_version=4), folder or path.parent
    is_solution = folder.name == "solutions"
    lesson = [] if is_solution else check_lesson(notebook, path.stem)
    return [
        *check_file(path),
        *check_notebook(notebook, is_solution),
        *lesson,
        *check_links(notebook, folder),
    ]


def check_file(path: Path) -> Iterator[str]:
    """Size, and validity of the format."""
    size = path.stat().st_size
    if size >= MAX_BYTES:
        yield f"{size / 1e6:.1f} MB; less than {MAX_BYTES / 1e6:.0f} MB are allowed"
    try:
        nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {str(error).splitlines()[0]}"


def check_notebook(notebook: NotebookNode, is_solution: bool = False) -> Iterator[str]:
    """All rules on the content."""
    yield from check_head(notebook)
    yield from check_metadata(notebook)
    yield from check_counts(notebook)
    for number, cell in enumerate(code_cells(notebook), start=1):
        for problem in (*check_source(cell), *check_tags(cell), *check_outputs(cell)):
            yield f"code cell {number}: {problem}"
    yield from check_ignored(notebook, is_solution)


def check_head(notebook: NotebookNode) -> Iterator[str]:
    """The first cell says what for, how long and how much memory; one cell holds the parameters."""
    first = notebook.cells[0] if notebook.cells else None
    text = first.source if first is not None and first.cell_type == "markdown" else ""
    if not text.startswith("# "):
        yield "the first cell must be markdown and begin with a '# ' title"
    if not GOAL.search(text):
        yield "the first cell must state '**Goal.** ...'"
    cost = COST.search(text)
    if cost is None or not TIME.search(cost[0]) or not MEMORY.search(cost[0]):
        yield "the first cell must state '**Cost.** ...' with a time (seconds, minutes) and memory (2 GB)"
    count = sum("parameters" in tags(cell) for cell in code_cells(notebook))
    if count != 1:
        yield f"{count} code cells are tagged 'parameters'; exactly one must be"


def check_lesson(notebook: NotebookNode, name: str) -> Iterator[str]:
    """What a reader may count on: what is needed, exercises with solutions, a summary, an end in sight."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    if not texts or "**You need.** " not in texts[0]:
        yield "the first cell must state '**You need.** ...'"
    headings = [line for text in texts for line in text.splitlines() if line.startswith("## ")]
    for heading in ("## Exercises", "## Summary"):
        if not any(line.startswith(heading) for line in headings):
            yield f"no section {heading!r}"
    if not any(f"](solutions/{name}_solutions.ipynb)" in text for text in texts):
        yield f"no link to solutions/{name}_solutions.ipynb"
    if len(notebook.cells) > MAX_CELLS:
        yield f"{len(notebook.cells)} cells; at most {MAX_CELLS} are allowed"


def check_links(notebook: NotebookNode, folder: Path) -> Iterator[str]:
    """Links to files lead somewhere."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in LINK.findall(cell.source):
                if not (folder / target).exists():
                    yield f"a link leads nowhere: {target}"


def check_metadata(notebook: NotebookNode) -> Iterator[str]:
    """The usual kernel, smoke parameters, and nothing that a run leaves behind."""
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield f"kernel is {kernel!r}; must be 'python3'"
    try:
        smoke_parameters(notebook)
    except ValueError as error:
        yield str(error)
    for key in RUN_METADATA:
        if key in notebook.metadata:
            yield f"metadata {key!r} of a run is stored"
    for cell in notebook.cells:
        for key in CELL_RUN_METADATA:
            if key in cell.metadata:
                yield f"a cell holds metadata {key!r} of a run"


def check_counts(notebook: NotebookNode) -> Iterator[str]:
    """Executed once, from top to bottom. A cell that was not is not compared by nbval."""
    expected = 0
    for number, cell in enumerate(code_cells(notebook), start=1):
        if not cell.source.strip():
            yield f"code cell {number} is empty"
            continue
        if "nbval-skip" in tags(cell):
            continue
        expected += 1
        if cell.execution_count != expected:
            yield f"code cell {number} has execution count {cell.execution_count}, not {expected}: run `make notebooks`"
            return


def check_source(cell: NotebookNode) -> Iterator[str]:
    """No trailing semicolon: it hides a value in Jupyter, but not from nbval."""
    if ends_in_semicolon(cell.source):
        yield "ends in ';': write `plt.show()` or `_ = ...` instead"
    if IGNORING_COMMENTS.search(cell.source):
        yield "steers nbval by a comment; use tags"


def ends_in_semicolon(source: str) -> bool:
    """Whether the last token of the source is a semicolon, comments aside."""
    beside = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    try:
        found = [
            token
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type not in beside
        ]
    except (tokenize.TokenError, SyntaxError):  # magics and shell commands
        return source.rstrip().endswith(";")
    return bool(found) and found[-1].string == ";"


def check_tags(cell: NotebookNode) -> Iterator[str]:
    """Tags that one tool heeds and another does not."""
    marked = tags(cell)
    if ("nbval-skip" in marked) != ("skip-execution" in marked):
        yield "'nbval-skip' and 'skip-execution' belong together: one tool heeds the one, one the other"
    if marked & RAISING:
        yield "papermill fails on an expected exception: catch it and print it"


def check_outputs(cell: NotebookNode) -> Iterator[str]:
    """Nothing on stderr, no error, no path of the machine it ran on."""
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            yield f"output on stderr is stored: {output.text.strip()[:80]!r}"
        if output.output_type == "error":
            yield f"an error is stored: {output.ename}"
        for text in _texts(output):
            if found := LOCAL_PATH.search(BASE64.sub("", text)):
                yield f"an output shows a path of this machine: {found[0]!r}"


def _texts(output: NotebookNode) -> Iterator[str]:
    """Texts of an output; images and other bytes are left out."""
    if output.output_type == "stream":
        yield output.text
    for kind, value in output.get("data", {}).items():
        if isinstance(value, str) and (kind.startswith("text/") or kind == "image/svg+xml"):
            yield value


def check_ignored(notebook: NotebookNode, is_solution: bool) -> Iterator[str]:
    """Most cells are really compared. A short sheet of solutions may always have one that is not."""
    cells = code_cells(notebook)
    ignored = sum(bool(tags(cell) & IGNORING) for cell in cells)
    allowed = max(int(len(cells) * MAX_IGNORED_SHARE), 1 if is_solution else 0)
    if ignored > allowed:
        yield f"nbval ignores {ignored} of {len(cells)} code cells; at most {allowed} may be"


def main(paths: Sequence[str]) -> int:
    """Print what notebooks break; 1 if one does."""
    broken = [f"{path}: {problem}" for path in paths for problem in problems(Path(path))]
    print("\n".join(broken), end="\n" * bool(broken), file=sys.stderr)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
