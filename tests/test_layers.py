"""The import law: who may know whom, and what every module has."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "image_cri_shim"
LINE_LIMIT = 400

# Neither Twisted nor asyncio; most do no input or output.
PURE = {
    "activation",
    "advice",
    "back_off",
    "call_identity",
    "clock",
    "credentials",
    "decision",
    "diagnosis",
    "errors",
    "fingerprint",
    "histogram",
    "history.backlog",
    "history.keeper",
    "history.reading",
    "history.row",
    "history.run",
    "history.store",
    "history.worker",
    "inference",
    "logs.components",
    "logs.entry",
    "logs.formats",
    "logs.journal",
    "logs.outlet",
    "measurements",
    "originals",
    "pattern",
    "policy",
    "private_libraries",
    "pull_book",
    "pull_measurements",
    "pull_record",
    "pull_trouble",
    "reason",
    "redaction",
    "reference",
    "registry.cache",
    "registry.cache_totals",
    "registry.challenge",
    "regular_file",
    "registry.docker_config",
    "registry.measurements",
    "rules",
    "socket_lock",
    "socket_permissions",
    "socket_state",
    "stale_sockets",
    "sd_notify",
    "state_file",
    "status_codes",
    "unix_socket",
    "wording",
}
PURE_PACKAGES = {"config"}
ASYNCIO_PACKAGES = {"cri"}
# The meeting point, the wiring, and what starts it.
TOP = {"backend", "bridge", "daemon", "report", "service", "tap"}
TOP_PACKAGES = {"cli"}

TWISTED_LIBRARIES = {"twisted", "treq", "zope", "hyperlink", "OpenSSL", "service_identity"}
ASYNCIO_LIBRARIES = {"asyncio", "grpclib", "h2", "hpack", "google", "multidict"}
MAY_IMPORT_GRPCLIB = {"cri.stream", "cri.transport"}


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


SOURCES = {
    module_name(path): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
    if "_generated" not in path.parts
}
modules = pytest.mark.parametrize("name", SOURCES, ids=lambda name: name or PACKAGE)


def layer(name: str) -> str:
    package = name.partition(".")[0]
    if not name or name in PURE or package in PURE_PACKAGES:
        return "pure"
    if package in ASYNCIO_PACKAGES:
        return "asyncio"
    if name in TOP or package in TOP_PACKAGES:
        return "top"
    # Everything else is Twisted's, so that a new module is on a side.
    return "twisted"


def imports(tree: ast.AST, *, deep: bool = True) -> set[str]:
    """Return the full names of what is imported; ``deep`` includes what functions import."""
    found: set[str] = set()
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        if deep or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)
    return found


def imported(name: str, *, deep: bool = True) -> set[str]:
    return imports(ast.parse(SOURCES[name].read_text()), deep=deep)


def libraries(name: str) -> set[str]:
    return {one.partition(".")[0] for one in imported(name)} - {PACKAGE}


def ours(name: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    found = set()
    for one in imported(name):
        package, _, rest = one.partition(".")
        if package == PACKAGE and rest:
            # The last part may be a module or something in one.
            found.add(rest if rest in SOURCES else rest.rpartition(".")[0])
    return found - {""}


def test_the_walk_finds_every_way_to_import() -> None:
    source = """
import a.b
from c import d, e as f
if True:
    import g
class K:
    import h
def one():
    import i
    async def two():
        from j.k import l
"""
    assert imports(ast.parse(source), deep=False) == {"a.b", "c.d", "c.e", "g", "h"}
    assert imports(ast.parse(source)) == {"a.b", "c.d", "c.e", "g", "h", "i", "j.k.l"}
    assert {"", "policy", "resolver", "bridge", "cri.server", "cli.pull"} <= set(SOURCES)
    assert "decision" in ours("policy")
    assert {"reference", "cri.status"} <= ours("cri.local")
    assert "twisted" in libraries("resolver")


@modules
def test_a_module_uses_only_the_libraries_of_its_side(name: str) -> None:
    forbidden = {
        "pure": TWISTED_LIBRARIES | ASYNCIO_LIBRARIES,
        "asyncio": TWISTED_LIBRARIES,
        "twisted": ASYNCIO_LIBRARIES,
        "top": set(),
    }[layer(name)]
    assert libraries(name) & forbidden == set()


@modules
def test_a_module_knows_only_modules_of_its_side_or_below(name: str) -> None:
    allowed = {
        "pure": {"pure"},
        "asyncio": {"pure", "asyncio"},
        "twisted": {"pure", "twisted"},
        "top": {"pure", "asyncio", "twisted", "top"},
    }[layer(name)]
    assert {other for other in ours(name) if layer(other) not in allowed} == set()


@modules
def test_at_the_top_each_knows_only_what_is_below_it(name: str) -> None:
    assert "bridge" not in ours(name) or name in {"daemon", "service", "tap"}
    assert "service" not in ours(name) or name == "tap" or name.startswith("cli.")
    assert "tap" not in ours(name) or name.startswith("cli.")
    if name == "bridge":
        assert {other for other in ours(name) if layer(other) != "pure"} == set()


@modules
def test_the_reactor_is_a_parameter(name: str) -> None:
    reactor = "twisted.internet.reactor"
    assert reactor not in imported(name, deep=False)
    assert reactor not in imported(name) or name == "tap"


@modules
def test_grpclib_is_known_in_two_files_and_to_the_clients(name: str) -> None:
    allowed = name in MAY_IMPORT_GRPCLIB or name.startswith("cli.")
    assert allowed or "grpclib" not in libraries(name)


@modules
def test_a_module_says_what_it_is_for(name: str) -> None:
    docstring = ast.get_docstring(ast.parse(SOURCES[name].read_text()))
    assert docstring is not None
    assert docstring.splitlines()[0].endswith((".", ":"))


@modules
def test_a_module_can_be_read_in_one_sitting(name: str) -> None:
    assert len(SOURCES[name].read_text().splitlines()) <= LINE_LIMIT


def test_importing_everything_makes_no_reactor() -> None:
    lines = [f"import {PACKAGE}{'.' if name else ''}{name}" for name in SOURCES]
    script = "\n".join([*lines, "import sys", "print('twisted.internet.reactor' in sys.modules)"])
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("False\n", "")
