"""The steps of `make setup`, each with its own clear complaint. Standard library only: nothing else is there yet.

The environment is complete when `.venv/.complete` exists, which is written last. One that this tool began and did
not finish is built again from nothing, because a package that was half unpacked looks installed to pip.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12")

# measured on Linux with Python 3.11: the environment, and the packages that pip downloads to fill it
VENV_GB = 5.9
DOWNLOAD_GB = 3.0
SPARE_GB = 0.6

BIG_MB = 40  # downloads from here on are worth a line on the screen


class SetupError(Exception):
    """Says what stopped the setup and what to do about it."""


class Environment:
    """The folder .venv of a checkout, and the two marks that tell how far it got."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.ours = self.folder / ".made-by-setup"
        self.complete = self.folder / ".complete"
        self.log = root / "outputs" / "setup.log"

    def version(self) -> str | None:
        """Version of its Python such as "3.11", or None if that does not run."""
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            return subprocess.run(
                [self.python, "-c", ask], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None


def prepare(environment: Environment, free_bytes: Callable[[Path], int] | None = None) -> str:
    """Make the folder, or keep the one there is. Returns what was done, as a sentence.

    Raises:
        SetupError: the disk is too small, Python lacks ensurepip, or somebody's own .venv does not suit.
    """
    folder = environment.folder
    finished = environment.complete.is_file()
    version = environment.version() if folder.exists() else None
    if folder.exists() and not environment.ours.is_file():
        if version not in PYTHONS:
            raise SetupError(
                f"{folder} is there, was not made by `make setup`, and its Python is {version or 'broken'}; "
                f"{' or '.join(PYTHONS)} is needed. Move it away and call `make setup` again."
            )
        return f"using the .venv that is there (Python {version})"
    if finished and version in PYTHONS:
        environment.complete.unlink()  # from here on it is not complete, whatever happens
        return "pyproject.toml or constraints.txt have changed: bringing .venv up to date"
    word = "making .venv"
    if folder.exists():
        word = "an earlier setup was interrupted: making .venv again"
        shutil.rmtree(folder)
    check_ensurepip()
    check_disk(environment.root, free_bytes)
    folder.mkdir()
    environment.ours.touch()
    made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
    if made.returncode:
        output = (made.stdout + made.stderr).strip()
        raise SetupError(f"python -m venv failed:\n{output}\n{explain(output, environment.log)}")
    return f"{word} with Python {sys.version.split()[0]}"


def check_ensurepip(find: Callable[[str], object | None] = importlib.util.find_spec) -> None:
    """Debian and Ubuntu ship a Python that cannot make environments until one more package is installed."""
    if find("ensurepip") is None or find("venv") is None:
        name = f"python3.{sys.version_info.minor}-venv"
        raise SetupError(
            f"{sys.executable} cannot make virtual environments. Install its missing part: apt install {name}"
        )


def check_disk(root: Path, free_bytes: Callable[[Path], int] | None = None) -> None:
    """Refuse to start what cannot be finished."""
    free = (free_bytes or _free_bytes)(root) / 1e9
    needed = VENV_GB + DOWNLOAD_GB + SPARE_GB
    if free < needed:
        raise SetupError(
            f"Not enough room on the disk of {root}: {free:.1f} GB are free, {needed:.1f} GB are needed "
            f"({VENV_GB} GB for the environment, {DOWNLOAD_GB} GB for downloads that are removed in the end). "
            "Free some, or clone to another disk."
        )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def install(environment: Environment, announce: Callable[[str], None] = print) -> None:
    """Install the package, editable, with its `dev` extra and the pinned versions. pip's full output goes to the log.

    Raises:
        SetupError: pip failed; says why and where the log is.
    """
    # pip's wheels go to the disk that was checked, not to a small /tmp
    temporary = environment.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment.log.parent.mkdir(exist_ok=True)
    command = [
        environment.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
        "--progress-bar", "off", "--retries", "2", "--no-compile", "-c", "constraints.txt", "-e", ".[dev]",
    ]  # fmt: skip
    if _same_disk_is_short(environment):
        command.append("--no-cache-dir")
    process = subprocess.Popen(
        [str(part) for part in command], cwd=environment.root, env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    try:
        with environment.log.open("w", encoding="utf-8") as log:
            assert process.stdout is not None, "it is a pipe"
            follow(process.stdout, log.write, announce)
        if process.wait() != 0:
            raise SetupError(explain(environment.log.read_text(encoding="utf-8"), environment.log))
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def compile_packages(environment: Environment) -> None:
    """Byte-compile what was installed, on all cores: pip would do it on one, for a minute.

    Left to each import, it would never be kept where PYTHONDONTWRITEBYTECODE is set, as in many containers.
    """
    # the status does not count: a few packages carry files that are not for this Python, and pip passes over them too
    command = [
        environment.python, "-m", "compileall", "-qq", "-j", "0", "-x", r"[/\\]tests[/\\]",
        environment.folder / "lib",
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], cwd=environment.root, capture_output=True, check=False)


def _same_disk_is_short(environment: Environment) -> bool:
    """Whether a copy of the downloads in pip's cache, which normally makes a second setup faster, would not fit."""
    home = Path.home()
    same = home.exists() and home.stat().st_dev == environment.root.stat().st_dev
    return same and _free_bytes(environment.root) / 1e9 < VENV_GB + 2 * DOWNLOAD_GB + SPARE_GB


def follow(lines: Iterable[str], keep: Callable[[str], object], announce: Callable[[str], None]) -> None:
    """Keep every line of pip's output, announce the few that a person waits for."""
    for line in lines:
        keep(line)
        if big := re.match(r"\s*Downloading (\S+?)-\d\S* \(([\d.]+) (MB|GB)\)", line):
            name, size, unit = big.groups()
            if unit == "GB" or float(size) >= BIG_MB:
                announce(f"  downloading {name} ({size} {unit})")
        elif line.startswith("Installing collected packages:"):
            announce(f"  unpacking packages: {line.count(',') + 1}")


# The first that matches wins: a full disk also breaks downloads, and a dead network also leaves no versions.
CAUSES = (
    (
        r"No space left on device|Errno 28|Disk quota exceeded",
        "The disk is full. Free some room and call `make setup` again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The package index was reached, but its certificate was not accepted. Behind a company proxy, set PIP_CERT "
        "to its certificate file.",
    ),
    (
        r"NewConnectionError|Failed to establish a new connection|Name or service not known|name resolution|"
        r"Network is unreachable|No route to host|Connection refused|ConnectTimeout|ReadTimeout|Read timed out|"
        r"ProxyError|Connection reset|Connection broken|IncompleteRead|RemoteDisconnected",
        "The package index could not be reached: the network is down, or a proxy is in the way (pip reads "
        "HTTPS_PROXY and PIP_INDEX_URL). What arrived is kept in pip's cache; call `make setup` again when the "
        "network is back.",
    ),
    (r"THESE PACKAGES DO NOT MATCH THE HASHES", "A download arrived damaged. Call `make setup` again."),
    (
        r"ResolutionImpossible|No matching distribution found|conflicting dependencies",
        "The pinned versions of constraints.txt are not to be had for this system and Python. The log's last lines "
        "name the package; torch has wheels for Linux, and for macOS on ARM.",
    ),
    (r"Permission denied|Errno 13", "A file may not be written. The log's last lines name it."),
)


def explain(output: str, log: Path) -> str:
    """One paragraph on why pip failed, from what it printed."""
    for pattern, cause in CAUSES:
        if re.search(pattern, output):
            return f"{cause}\n(pip's own words: {log})"
    errors = [line for line in output.splitlines() if line.strip()][-3:]
    return "\n".join(["pip failed:", *(f"    {line}" for line in errors), f"(all of pip's words: {log})"])


def check_import(environment: Environment) -> None:
    """That the packages are there does not mean that they load: a system library may be missing."""
    command = [
        str(environment.python),
        "-c",
        "import torch, torchaudio, torchvision, diffusers, av, rflav_lib",
    ]
    tried = subprocess.run(command, capture_output=True, text=True, cwd=environment.root, check=False)
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
        raise SetupError(f"Everything is installed, but does not load: {last}")


def main(root: Path = ROOT, free_bytes: Callable[[Path], int] | None = None) -> int:
    """Build or update the environment. Returns the exit status."""
    environment = Environment(root)
    began = time.monotonic()
    try:
        print(f"Setup: {prepare(environment, free_bytes)}")
        print(
            f"  {DOWNLOAD_GB:.0f} GB to download unless pip's cache has them; log: {environment.log}",
            flush=True,
        )
        install(environment, lambda text: print(text, flush=True))
        compile_packages(environment)
        check_import(environment)
    except SetupError as error:
        print(f"\nSetup failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSetup interrupted. Call `make setup` to start again.", file=sys.stderr)
        return 130
    except OSError as error:
        print(
            f"\nSetup failed. {explain(str(error), environment.log) if error.errno == 28 else error}",
            file=sys.stderr,
        )
        return 1
    environment.complete.touch()
    print(f"Setup done in {(time.monotonic() - began) / 60:.1f} minutes.")
    return 0
