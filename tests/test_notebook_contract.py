"""Every notebook keeps the contract of tools/notebook_contract.py, and each of its rules can be broken."""

from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_contract import MAX_BYTES, ends_in_semicolon, problems

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(NOTEBOOKS.glob("solutions/*.ipynb"))

HEAD = (
    "# 00 · Title\n\n**Goal.** Know it.\n\n**You need.** Time.\n\n"
    "**Cost.** About 2 minutes and 1.5 GB on 2 CPU cores."
)
END = (
    "## Exercises\n\nAnswers: [here](solutions/notebook_solutions.ipynb).\n\n"
    "## Summary\n\nDone. [Paper](https://arxiv.org/abs/2503.08307), [top](#top)."
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_keeps_the_contract(path: Path):
    broken = problems(path)
    assert not broken, "\n".join([f"{path.name}:", *broken])


def good() -> NotebookNode:
    """A notebook that keeps the contract: 1 head, 1 cell of parameters, 7 more, 1 end."""
    cells = [new_code_cell(f"x = {i}", execution_count=i + 1, outputs=[]) for i in range(8)]
    cells[0].metadata["tags"] = ["parameters"]
    cells[1].outputs = [new_output("stream", name="stdout", text="0.5\n")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "rflav": {"smoke": {}}}
    return new_notebook(cells=[new_markdown_cell(HEAD), *cells, new_markdown_cell(END)], metadata=metadata)


def check(notebook: NotebookNode, folder: Path) -> list[str]:
    """Write it and read it as the contract does."""
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    (folder / "solutions").mkdir()
    (folder / "solutions" / "notebook_solutions.ipynb").touch()
    return problems(path)


def test_a_good_notebook_has_no_problems(tmp_path):
    assert check(good(), tmp_path) == []


def tag(*names: str, cells: slice = slice(3, 4)):
    """Break a notebook by tags on some cells."""

    def change(nb):
        for cell in nb.cells[cells]:
            cell.metadata["tags"] = list(names)

    return change


def output(kind: str, **content):
    """Break a notebook by an output of its third code cell."""

    def change(nb):
        nb.cells[3].outputs = [new_output(kind, **content)]

    return change


def setting(target, **values):
    """Break a notebook by attributes of what `target` picks out of it."""

    def change(nb):
        for name, value in values.items():
            setattr(target(nb), name, value)

    return change


BROKEN = {
    "no title": (setting(lambda nb: nb.cells[0], source=HEAD.replace("# 00", "00")), "'# ' title"),
    "head is code": (lambda nb: nb.cells.pop(0), "'# ' title"),
    "no goal": (setting(lambda nb: nb.cells[0], source=HEAD.replace("Goal", "Gaol")), "**Goal.**"),
    "no time": (setting(lambda nb: nb.cells[0], source=HEAD.replace("minutes", "moments")), "**Cost.**"),
    "no memory": (setting(lambda nb: nb.cells[0], source=HEAD.replace("1.5 GB", "memory")), "**Cost.**"),
    "no needs": (setting(lambda nb: nb.cells[0], source=HEAD.replace("need", "want")), "**You need.**"),
    "no exercises": (setting(lambda nb: nb.cells[-1], source=END.replace("## Ex", "# Ex")), "'## Exercises'"),
    "no summary": (setting(lambda nb: nb.cells[-1], source=END.replace("## Sum", "Sum")), "'## Summary'"),
    "no solutions": (setting(lambda nb: nb.cells[-1], source=END.replace("notebook_", "")), "no link to sol"),
    "dead link": (
        setting(lambda nb: nb.cells[-1], source=END + " [Next](01_next.ipynb#start)"),
        "leads nowhere: 01_next.ipynb",
    ),
    "no end": (
        lambda nb: nb.cells.extend(new_markdown_cell("more") for _ in range(36)),
        "46 cells; at most 45",
    ),
    "no parameters": (tag(cells=slice(1, 2)), "0 code cells are tagged 'parameters'"),
    "two parameters": (tag("parameters"), "2 code cells are tagged 'parameters'"),
    "stripped": (setting(lambda nb: nb.cells[2], execution_count=None), "execution count None, not 2"),
    "out of order": (setting(lambda nb: nb.cells[5], execution_count=9), "execution count 9, not 5"),
    "empty cell": (lambda nb: nb.cells.append(new_code_cell(" \n")), "code cell 9 is empty"),
    "semicolon": (
        setting(lambda nb: nb.cells[4], source="x = 1\nprint(x);  # shown"),
        "code cell 4: ends in ';'",
    ),
    "comment for nbval": (setting(lambda nb: nb.cells[4], source="# NBVAL_IGNORE_OUTPUT\nx"), "use tags"),
    "half a skip": (tag("nbval-skip"), "belong together"),
    "other half of a skip": (tag("skip-execution"), "belong together"),
    "expected exception": (tag("raises-exception"), "catch it"),
    "ignored too often": (
        tag("nbval-ignore-output", cells=slice(3, 6)),
        "ignores 3 of 8 code cells; at most 2",
    ),
    "stderr": (output("stream", name="stderr", text="0%| | 0/9"), "stderr is stored"),
    "error": (output("error", ename="ValueError", evalue="", traceback=[]), "an error is stored: ValueError"),
    "home": (output("stream", name="stdout", text="in /home/anna/x"), "'/home/anna'"),
    "temporary": (output("display_data", data={"text/plain": "PosixPath('/tmp/x1/y')"}), "'/tmp/x1'"),
    "home in html": (output("display_data", data={"text/html": "<a href='/root/x'>"}), "'/root/x'"),
    "widgets": (lambda nb: nb.metadata.update(widgets={}), "metadata 'widgets'"),
    "papermill": (lambda nb: nb.metadata.update(papermill={}), "metadata 'papermill'"),
    "timing": (lambda nb: nb.cells[2].metadata.update(execution={}), "metadata 'execution'"),
    "kernel": (lambda nb: nb.metadata.kernelspec.update(name="mine"), "kernel is 'mine'"),
    "no smoke": (lambda nb: nb.metadata.pop("rflav"), "no smoke parameters"),
    "too big": (output("stream", name="stdout", text="x" * MAX_BYTES), "2.0 MB; less than 2 MB"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_can_be_broken(name, tmp_path):
    change, expected = BROKEN[name]
    notebook = good()
    change(notebook)
    broken = check(notebook, tmp_path)
    assert any(expected in problem for problem in broken), broken


def test_media_in_base64_are_no_paths(tmp_path):
    notebook = good()
    output("display_data", data={"text/html": "<video src='data:video/mp4;base64,AA/tmp/AA/root/AA'>"})(
        notebook
    )
    assert check(notebook, tmp_path) == []


def test_a_complete_skip_is_fine_and_counts_go_on(tmp_path):
    notebook = good()
    tag("nbval-skip", "skip-execution", cells=slice(8, 9))(notebook)
    notebook.cells[8].execution_count = None
    assert check(notebook, tmp_path) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [("f(x);", True), ("f(x); # why", True), ("f(x);\n\n# end", True), ("a = 1; b = 2", False), ("s = ';'", False),
     ("!ls ';", True), ("%matplotlib inline", False), ("", False)],
)  # fmt: skip
def test_ends_in_semicolon(source, expected):
    assert ends_in_semicolon(source) is expected
