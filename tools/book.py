"""Build the book: execute what is stale, keep the notebook twins, hand their outputs to Sphinx.

A chapter is a MyST file `chapters/NAME.md`; its twin `chapters/NAME.ipynb` is the same chapter
executed. What a chapter prints depends on more than its own text, so each run is sealed with a
digest of the chapter, the library, configs, data, this file and the locked versions: edit any of
them and the chapter runs again. The seal covers the run itself, so a notebook that was edited or
damaged is renewed. A twin whose seal holds stays as it is, which keeps a fresh clone clean although
every chapter runs in it.
"""

import argparse
import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tdmlib.errors import InputError
from tdmlib.files import write_whole
from tdmlib.notebook import profile

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
HTML = BUILD / "html"
CACHE = BUILD / ".jupyter_cache"
PROFILE = os.environ.get("TDM_PROFILE", "light")
TWIN_PROFILE = "light"  # what the committed twins show
PARALLEL = 2
HIDDEN = re.compile(r"(^|/)(\.|__pycache__/)")
PAGE_WITH_CODE = re.compile(r"chapters/[\w.-]+")  # a shell splits or expands other names
SEAL = re.compile(r'(?<="tdm_digest": ")\w*(?=")')
CELL_TIMEOUT = 600 if PROFILE == TWIN_PROFILE else None  # seconds

KERNEL_ENV = {
    # One thread: sums are taken in one order, so numbers repeat from machine to machine.
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(ROOT),  # the library that is hashed is the one that is imported
    "IPYTHONDIR": str(BUILD / "ipython"),  # not the reader's own start-up files
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "SOURCE_DATE_EPOCH": "0",  # matplotlib dates its SVG files
    "TRANSFORMERS_VERBOSITY": "error",
}


@dataclass(frozen=True)
class Chapter:
    """A page of the book that has code to execute."""

    name: str
    header: dict[str, Any]

    @property
    def source(self) -> Path:
        return ROOT / "chapters" / f"{self.name}.md"

    @property
    def twin(self) -> Path:
        return self.source.with_suffix(".ipynb")

    @property
    def executed(self) -> Path:
        return BUILD / "executed" / f"{self.name}.ipynb"

    @property
    def is_training(self) -> bool:
        """Its numbers vary with the machine: nbval runs it, and trusts its assertions."""
        return self.header.get("tdm", {}).get("nbval") == "lax"

    def digest(self, profile: str = PROFILE) -> str:
        return sha256(file_hash(self.source), surroundings(), profile)


def sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def file_hash(path: Path) -> str:
    name = path.resolve().relative_to(ROOT).as_posix()
    return sha256(name, hashlib.sha256(path.read_bytes()).hexdigest())


def files(folder: str, pattern: str = "*") -> list[Path]:
    """The files below a folder, without hidden ones and compiled Python."""
    found = (path for path in (ROOT / folder).rglob(pattern) if path.is_file())
    return sorted(path for path in found if not HIDDEN.search(path.relative_to(ROOT).as_posix()))


@cache
def surroundings() -> str:
    """A hash of all that any chapter may read, besides its own text, and of how it is run."""
    inputs = [path for folder in ("tdmlib", "configs", "data") for path in files(folder)]
    return sha256(*map(file_hash, [*inputs, ROOT / "constraints.txt", ROOT / "tools/book.py"]))


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark


def read_yaml(path: Path, *, front_matter: bool = False) -> Any:
    """What a file says in YAML, or what the header of a Markdown file does."""
    try:
        text = read_text(path)
        if front_matter:
            text = text.split("\n---", 1)[0] if text.startswith("---\n") else ""
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise SystemExit(f"{path.relative_to(ROOT)} cannot be read: {reason}") from None


def pages() -> list[str]:
    """Every document of the table of contents, in its order: "chapters/intro", ..."""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            yield from (page for value in node.values() for page in walk(value))
        elif isinstance(node, list):
            yield from (page for value in node for page in walk(value))

    return list(walk(read_yaml(ROOT / "_toc.yml")))


def chapters() -> list[Chapter]:
    """The pages that name a kernel; the others are prose and have no twin."""
    found = []
    for page in pages():
        source = ROOT / f"{page}.md"
        # Sphinx will say which file is missing.
        header = read_yaml(source, front_matter=True) if source.is_file() else None
        if isinstance(header, dict) and "kernelspec" in header:
            if not PAGE_WITH_CODE.fullmatch(page):
                where = "in chapters/ itself, with a name of letters, digits and _ . - only"
                raise SystemExit(f"{page}.md has code, so it must be {where}")
            found.append(Chapter(Path(page).name, header))
    return found


def read_notebook(path: Path):
    import nbformat

    return nbformat.read(path, as_version=4)


def sealed(text: str, digest: str) -> str:
    """A notebook with a hash of its own text and of all that it was made from."""
    return SEAL.sub(sha256(digest, SEAL.sub("", text)), text)


def is_intact(path: Path, digest: str) -> bool:
    """Whether a notebook is there as it was executed: neither stale nor edited nor damaged."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return SEAL.search(text) is not None and text == sealed(text, digest)


def replace(path: Path, text: str) -> None:
    """Write all of a file or nothing of it, and the folder when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


def normalised(notebook, digest: str) -> str:
    """The notebook as text, without what differs from run to run or machine to machine."""
    import jupytext

    for position, cell in enumerate(notebook.cells):
        cell.id = f"{position:03d}-{sha256(cell.source)[:8]}"
        cell.metadata.pop("execution", None)
    notebook.metadata.language_info.pop("version", None)
    notebook.metadata["tdm_digest"] = ""
    return sealed(jupytext.writes(notebook, fmt="ipynb").rstrip("\n") + "\n", digest)


class ChapterFailed(Exception):
    """Says which cell, where it stands in the source, and why."""


def read_source(chapter: Chapter):
    import jupytext

    return jupytext.reads(read_text(chapter.source), fmt="md")


def line_of(cells: list, text: str) -> int:
    """The line where the last of these cells begins; equal cells are told apart by their order."""
    end = 0
    for cell in cells:
        begin = text.find("\n" + cell.source, end) + 1
        end = begin + len(cell.source)
    return text.count("\n", 0, begin) + 1


class Loop(asyncio.SelectorEventLoop):
    """Leaves signals to asyncio.Runner, which stops all chapters; a client would stop its own."""

    def add_signal_handler(self, *_: Any) -> None:
        raise RuntimeError  # as outside of the main thread, where clients do without


async def execute(chapter: Chapter) -> str:
    """Run a chapter in a kernel of this very interpreter; returns the executed notebook."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class ThisInterpreter(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])  # no kernel that someone registered

    digest = chapter.digest()
    notebook = read_source(chapter)
    started: list[int] = []
    kernel = ThisInterpreter(kernel_name="python3")
    client = NotebookClient(
        notebook,
        km=kernel,
        extra_arguments=["--log-level=ERROR"],  # else each kernel warns about its own transport
        timeout=CELL_TIMEOUT,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(chapter.source.parent)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
    )
    try:
        await client.async_execute(env=os.environ | KERNEL_ENV)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        line = line_of(notebook.cells[: started[-1] + 1], read_text(chapter.source))
        where = f"{chapter.source.relative_to(ROOT)}:{line}"
        raise ChapterFailed(f"{where}: this cell failed\n{error}") from None
    finally:
        if kernel.has_kernel:  # asked to end, or killed when the whole run is stopped
            await kernel.shutdown_kernel(now=asyncio.current_task().cancelling() > 0)
        if client.kc:
            client.kc.stop_channels()
    return normalised(notebook, digest)


async def execute_all(stale: list[Chapter]) -> None:
    """Run chapters side by side, long ones first; write each as soon as it is done."""
    slots = asyncio.Semaphore(PARALLEL)

    async def one(chapter: Chapter) -> None:
        async with slots:
            begin = time.perf_counter()
            text = await execute(chapter)
            replace(chapter.executed, text)
            print(f"executed {chapter.name} in {time.perf_counter() - begin:.1f} s", flush=True)

    ordered = sorted(stale, key=lambda chapter: not chapter.is_training)
    outcomes = await asyncio.gather(*map(one, ordered), return_exceptions=True)
    failures = [outcome for outcome in outcomes if outcome is not None]
    for failure in failures:
        if not isinstance(failure, ChapterFailed):
            raise failure
        print(failure, file=sys.stderr)
    if failures:
        raise SystemExit(f"{len(failures)} of {len(stale)} chapters failed; the rest is kept")


def is_stale(chapter: Chapter) -> bool:
    return not is_intact(chapter.executed, chapter.digest())


def refresh(selected: list[Chapter], force: bool = False) -> None:
    """Execute the chapters that are stale on this machine, and renew the twins that are."""
    stale = [chapter for chapter in selected if force or is_stale(chapter)]
    print(f"{len(selected) - len(stale)} chapters are fresh, {len(stale)} to execute", flush=True)
    try:
        if stale:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(execute_all(stale))
    finally:
        for chapter in selected:
            outdated = force or not is_intact(chapter.twin, chapter.digest())
            if outdated and not is_stale(chapter) and PROFILE == TWIN_PROFILE:
                replace(chapter.twin, chapter.executed.read_text(encoding="utf-8"))
                print(f"wrote {chapter.twin.relative_to(ROOT)}")


def fill_cache() -> Callable[[], set[str]]:
    """Give Sphinx the outputs; the answer lists the runs that the cache holds."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    shutil.rmtree(CACHE, ignore_errors=True)
    store = get_cache(CACHE)
    for chapter in chapters():
        bundle = CacheBundleIn(read_notebook(chapter.executed), str(chapter.source))
        store.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return lambda: {record.hashkey for record in get_cache(CACHE).list_cache_records()}


def html_digest() -> str:
    """A hash of everything that the pages show."""
    settings = [ROOT / name for name in ("_config.yml", "_toc.yml", "references.bib")]
    sources = [path for path in files("chapters") if path.suffix != ".ipynb"]
    runs = [chapter.executed for chapter in chapters()]
    inputs = [*settings, *files("tools", "*.py"), *sources, *runs]
    return sha256(surroundings(), *map(file_hash, inputs))


def build() -> None:
    """Bring the whole book up to date; does nothing when nothing changed."""
    refresh(chapters())
    stamp = HTML / ".digest"
    digest = html_digest()
    complete = all((HTML / f"{page}.html").is_file() for page in pages())
    if complete and stamp.is_file() and stamp.read_text() == digest:
        print("nothing changed since the pages were built")
    else:
        begin = time.perf_counter()
        cached = fill_cache()
        before = cached()
        # From scratch: Sphinx looks at sources only, and outputs may have changed without them.
        shutil.rmtree(HTML, ignore_errors=True)
        shutil.rmtree(BUILD / "jupyter_execute", ignore_errors=True)
        options = ["--path-output", ".", "--all", "-W", "-n", "--keep-going", "--quiet"]
        jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
        command = [*jupyter_book, "build", ".", *options]
        env = {k: v for k, v in (os.environ | KERNEL_ENV).items() if k != "SOURCE_DATE_EPOCH"}
        if subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit("Sphinx reported warnings or errors, see above")
        if cached() != before:
            raise SystemExit(
                "Sphinx executed a chapter again: its cells differ from the cached run"
            )
        replace(stamp, digest)
        print(f"built the pages in {time.perf_counter() - begin:.1f} s")
    print(f"open {(HTML / 'index.html').relative_to(ROOT)}")


def twin_faults(chapter: Chapter) -> list[str]:
    """How a twin differs from its source, cell by cell, and from the library around it."""
    if not chapter.twin.is_file():
        return [f"{chapter.twin.name} is missing"]
    try:
        twin = read_notebook(chapter.twin)
    except Exception:  # nbformat has no one error for what is no notebook
        return [f"{chapter.twin.name} is damaged"]
    source = read_source(chapter)
    faults = []
    if len(twin.cells) != len(source.cells):
        faults.append(f"{chapter.twin.name} has {len(twin.cells)} cells, not {len(source.cells)}")
    for number, (mine, theirs) in enumerate(zip(twin.cells, source.cells, strict=False)):
        faults += [
            f"{chapter.twin.name}: {part} of cell {number} differs from the source"
            for part in ("cell_type", "source", "metadata")
            if mine[part] != theirs[part]
        ]
    if not is_intact(chapter.twin, chapter.digest(TWIN_PROFILE)):
        reason = "text, library, data or versions changed, or it was edited"
        faults.append(f"{chapter.twin.name} is stale: {reason}")
    return faults


def check() -> None:
    faults = [fault for chapter in chapters() for fault in twin_faults(chapter)]
    if faults:
        raise SystemExit("\n".join([*faults, "`make book` renews the notebooks"]))
    print("every notebook shows its source")


def figures() -> None:
    """Write every figure of the executed chapters to _build/figures."""
    refresh(chapters())
    folder = BUILD / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for chapter in chapters():
        cells = [c for c in read_notebook(chapter.executed).cells if c.cell_type == "code"]
        shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
        pictures = [data for data in shown if "image/svg+xml" in data or "image/png" in data]
        for number, data in enumerate(pictures, start=1):
            stem = folder / f"{chapter.name}_{number:02d}"
            if "image/svg+xml" in data:
                stem.with_suffix(".svg").write_text(data["image/svg+xml"], encoding="utf-8")
            else:
                stem.with_suffix(".png").write_bytes(b64decode(data["image/png"]))
    print(f"wrote {len(list(folder.iterdir()))} figures to {folder.relative_to(ROOT)}")


def select(name: str) -> list[Chapter]:
    """The one chapter that is called so, or whose name begins so."""
    known = {chapter.name: chapter for chapter in chapters()}
    matching = [name] if name in known else [each for each in known if each.startswith(name)]
    if not name or len(matching) != 1:
        raise SystemExit(f"NAME={name!r} must name one chapter of: {', '.join(known)}")
    return [known[matching[0]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="execute what is stale and build the pages")
    commands.add_parser("execute", help="execute what is stale")
    chapter = commands.add_parser("chapter", help="execute one chapter and write its notebook")
    chapter.add_argument("name", help="its name or how it begins, such as 01")
    commands.add_parser("check", help="compare the notebooks with their sources")
    commands.add_parser("figures", help="write the figures to _build/figures")
    notebooks = commands.add_parser("notebooks", help="list the notebooks for nbval")
    notebooks.add_argument("kind", choices=["theory", "training"])
    arguments = parser.parse_args()

    profile()  # refuses an unknown one
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:  # a second build waits instead of interfering
        if arguments.command not in ("check", "notebooks"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        match arguments.command:
            case "build":
                build()
            case "execute":
                refresh(chapters())
            case "chapter":
                refresh(select(arguments.name), force=True)
            case "figures":
                figures()
            case "check":
                check()
            case "notebooks":
                training = arguments.kind == "training"
                print(
                    *(f"chapters/{c.name}.ipynb" for c in chapters() if c.is_training == training)
                )


if __name__ == "__main__":
    # Both stop a build in the same way, also where a shell started it deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        print("stopped; what was executed is kept", file=sys.stderr)
        raise SystemExit(130) from None
