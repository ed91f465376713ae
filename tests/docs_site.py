"""The documentation as a site: what MkDocs is told of pages that are written for GitHub. ``make docs`` builds it.

A hook of MkDocs, which loads this file by its path: it imports nothing of the tests. The home page is the README; pages
are added for the other texts at the top and for the files of ``conf/`` and ``examples/``.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
TEXTS = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
LANGUAGES = {".py": "python", ".conf": "ini", ".service": "ini", ".md": "md", ".json": "json", "": "sh"}
FOLDERS = ("conf", "examples", ".ci")

#: every public name, by what one wants of it; a test holds it against what the package exports
NAMES: Mapping[str, tuple[str, ...]] = {
    "Nodes": tuple(f"hivemind.{name}" for name in ("Node", "service", "subscription", "responder", "resource")),
    "In their hands": tuple(f"hivemind.{name}" for name in ("Message", "Service", "AsyncService", "Subscription")),
    "Around every message": (
        "hivemind.Middleware",
        "hivemind.Sending",
        "hivemind.Handling",
        "hivemind.tracing.Tracing",
    ),
    "Scripts and web applications": ("hivemind.connect", "hivemind.Client", "hivemind.AsyncClient"),
    "The root": ("hivemind.RootController",),
    "Tests": ("hivemind.testing.HiveTest", "hivemind.testing.TestServer"),
    "Settings": ("hivemind.settings.load_settings",),
    "Actors": (
        *(
            f"hivemind.actors.{name}"
            for name in (
                "Process",
                "ProtobufProcess",
                "install",
                "route",
                "spawn",
                "initialize",
                "after_init",
                "join",
                "Context",
                "PID",
                "Answer",
                "Timer",
                "Watch",
                "Room",
                "Overflow",
                "DeadLetter",
            )
        ),
        "hivemind.actors.testing.ephemeral_context",
        "hivemind.actors.testing.EphemeralContextTestCase",
    ),
    "What a handler may raise": ("hivemind.Retry", "hivemind.Reject", "hivemind.Skip"),
    "Errors": tuple(
        f"hivemind.{name}"
        for name in (
            "HivemindError",
            *(
                "ConfigurationError",
                "SettingsError",
                "HiveNotFound",
                "NodeLoadError",
                "DeclarationError",
                "InvalidName",
            ),
            *("RedisError", "RedisUnavailable", "RedisRefused", "RedisDenied"),
            *("SendError", "PayloadError", "OutboxFull", "Refused", "Unconfirmed", "CannotSettle"),
            *("RequestError", "NoResponders", "RequestTimeout", "RequestLost", "RemoteError", "InvalidRequest"),
            *("InstanceHeld", "Fenced", "SupervisorError"),
        )
    ),
}

_FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"^ *<!--.*?-->\n", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_EDGE = re.compile(r"^ *(\S+) --> (\S+)$", re.MULTILINE)
_INDENT = re.compile(r"^( {2,})(?=\S)", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()([^)\s:#]*)(#[^)\s]*)?(?=\))")
_NAME = re.compile(r"^- `(hivemind\.[\w.]+)`.*$", re.MULTILINE)


# -- what MkDocs calls


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in ``docs/``."""
    from mkdocs.structure.files import File

    contents = (CHECKOUT / "docs" / "index.md").read_text(encoding="utf-8")
    home = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    files.remove(files.get_file_from_path("index.md"))
    added = {"index.md": from_the_top(home), "contents.md": contents, "files.md": files_page()}
    added |= {page: from_the_top((CHECKOUT / text).read_text(encoding="utf-8")) for text, page in TEXTS.items()}
    for path, text in added.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page as Python-Markdown wants it."""
    text = outside_of_code(markdown, lambda part: _COMMENT.sub("", part))
    text = _MERMAID.sub(lambda found: states(found[1]), text)
    text = outside_of_code(text, lambda part: _INDENT.sub(deeper, part))
    text = outside_of_code(text, lambda part: _LINK.sub(lambda link: led(link[1]) + (link[2] or ""), part))
    return _NAME.sub(r"::: \1", text) if page.file.src_uri == "reference.md" else text


# -- from one Markdown to the other


def from_the_top(text: str) -> str:
    """A text that lies above ``docs/``, as if it lay in it; its picture of a title is a title."""
    text = re.sub(r'<h1><img [^>]*alt="([^"]+)"[^>]*></h1>', r"# \1", text)
    return outside_of_code(text, lambda part: _LINK.sub(lambda link: below(link[1]) + (link[2] or ""), part))


def below(link: str) -> str:
    """Where a link of a text at the top leads, seen from ``docs/``."""
    if not link:
        return link
    return link.removeprefix("docs/") if link.startswith("docs/") else f"../{link}"


def led(link: str) -> str:
    """Where a link out of ``docs/`` leads on the site."""
    if link == "index.md":
        return "contents.md"
    if not link.startswith("../"):
        return link
    target = link.removeprefix("../").strip("/")
    if target == "README.md":
        return "index.md"
    return TEXTS.get(target) or f"files.md#{anchor(target)}"


def anchor(path: str) -> str:
    """What a file or folder is called on the page of files."""
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """``text`` with ``change`` done to what is not in a fenced block."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def deeper(indent: re.Match[str]) -> str:
    """GitHub nests lists by two spaces or three, Python-Markdown by four."""
    return "    " * (len(indent[1]) // 2)


def states(diagram: str) -> str:
    """A state diagram as a table: no script that draws is loaded."""
    after: dict[str, list[str]] = {}
    for state, follows in _EDGE.findall(diagram):
        after.setdefault(state, []).append(follows)
    first = after.pop("[*]", [])
    rows = [f"| `{state}`{' (first)' if state in first else ''} | {_after(after[state])} |" for state in after]
    return "\n".join(["| state | may become |", "|---|---|", *rows])


def _after(follows: list[str]) -> str:
    return ", ".join("the end" if one == "[*]" else f"`{one}`" for one in follows)


# -- the files


def files_page() -> str:
    """The page that shows the files to which the others point."""
    parts = ["---\nsearch:\n  exclude: true\n---\n# Files\n"]
    for folder in FOLDERS:
        parts.append(f"## {folder} {{#{anchor(folder)}}}\n")
        seen: set[str] = set()
        for path in tracked(folder):
            parts += _headed(path, seen)
    return "\n".join(parts)


def _headed(path: Path, seen: set[str]) -> Iterator[str]:
    name = path.relative_to(CHECKOUT).as_posix()
    hive = "/".join(name.split("/")[:2])
    if name.count("/") > 1 and hive not in seen:
        seen.add(hive)
        yield f"## {hive} {{#{anchor(hive)}}}\n"
    text = path.read_text(encoding="utf-8").rstrip()
    if text and path.suffix in LANGUAGES and not path.name.startswith(".git"):
        yield f"### {name} {{#{anchor(name)}}}\n"
        yield f"````{LANGUAGES[path.suffix]}\n{text}\n````\n"


def tracked(folder: str) -> list[Path]:
    """The files of a folder that are in the repository."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=CHECKOUT, capture_output=True, check=True, text=True)
    return [CHECKOUT / name for name in listed.stdout.split("\0") if name]
