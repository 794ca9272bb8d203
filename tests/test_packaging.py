"""What is built from the tree is complete, installs and works away from the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from image_cri_shim import __version__

ROOT = Path(__file__).parent.parent
# Where the tree is no git repository: what is made in it and not by hand.
MADE = ("*.pyc", "__pycache__", ".*", "build", "dist", "*.egg-info", "*_pb2.py*", "dropin.cache")

pytestmark = pytest.mark.integration


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Run a program to its end, away from this tree; return what it printed."""
    # Proxies and pip's own variables stay: a package index is asked.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_tree(target: Path) -> None:
    """Copy what belongs to the project: what is tracked, and what is new and not ignored."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        # A tree that belongs to somebody else is one too (a mounted one, in a container).
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        for name in filter(None, done.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target / name)
    else:
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*MADE), dirs_exist_ok=True)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a virtual environment with nothing in it."""
    directory = tmp_path_factory.mktemp("venv")
    run([sys.executable, "-m", "venv", directory], ROOT.parent)
    return directory


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, clean: Path) -> tuple[Path, Path]:
    """Build the source archive from a copy of the tree, and the wheel from that archive."""
    tree = tmp_path_factory.mktemp("tree")
    copy_tree(tree)
    assert not list(tree.rglob("*_pb2.py"))
    python = clean / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "build"], tree)
    run([python, "-m", "build", "."], tree)
    (archive,) = (tree / "dist").glob("*.tar.gz")
    (wheel,) = (tree / "dist").glob("*.whl")
    return archive, wheel


def test_the_source_archive_has_all_that_a_build_needs_and_the_man_pages(
    built: tuple[Path, Path],
) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "setup.cfg",
        "setup.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "protos/cri.proto",
        "twisted/plugins/image_cri_shim_plugin.py",
        "image_cri_shim/py.typed",
    }
    pages = {f"man/{path.name}" for path in (ROOT / "man").iterdir()}
    assert {"man/image-cri-shim.8"} <= pages
    assert (needed | pages) - names == set()
    assert not {name for name in names if name.startswith("tests") or "_pb2" in name}


def test_the_wheel_has_the_package_its_plugin_and_its_generated_code_and_nothing_else(
    built: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    modules = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "image_cri_shim").rglob("*.py")
        if "__pycache__" not in path.parts
    }
    plugin = "twisted/plugins/image_cri_shim_plugin.py"
    expected = {*modules, plugin, "image_cri_shim/py.typed", "image_cri_shim/admin/style.css"}
    expected |= {f"image_cri_shim/cri/_generated/{name}_pb2.pyi" for name in ("cri", "health")}
    assert "image_cri_shim/cri/_generated/cri_pb2.py" in expected
    others = {name for name in names if ".dist-info/" not in name}
    assert others == expected
    # Twisted's own packages are not ours to make.
    assert not {"twisted/__init__.py", "twisted/plugins/__init__.py"} & names


def test_the_wheel_installs_and_works_away_from_the_tree(
    built: tuple[Path, Path], clean: Path, tmp_path: Path
) -> None:
    programs = clean / "bin"
    run([programs / "python", "-m", "pip", "install", "--quiet", built[1]], tmp_path)
    run([programs / "python", "-m", "pip", "check"], tmp_path)
    where = "import image_cri_shim; print(image_cri_shim.__file__)"
    assert str(clean) in run([programs / "python", "-c", where], tmp_path)
    help_text = run([programs / "twistd", "--help"], tmp_path)
    (line,) = [line for line in help_text.splitlines() if line.split()[:1] == ["image-cri-shim"]]
    assert "Pull Kubernetes images" in line
    version = f"image-cri-shim {__version__}\n"
    assert run([programs / "twistd", "image-cri-shim", "--version"], tmp_path) == version
    for option in ("--version", "-v"):
        assert run([programs / "image-cri-shim", option], tmp_path) == version
    assert "IMAGE" in run([programs / "image-cri-shim", "pull", "--help"], tmp_path)
