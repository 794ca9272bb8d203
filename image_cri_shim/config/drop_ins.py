"""Which files a configuration is read from: the file itself, and those in the directory beside it.

So that a tool can add something without editing the operator's file.
"""

from __future__ import annotations

import os

from image_cri_shim.errors import ConfigError, Problem

# More than anybody can oversee.
FILES_LIMIT = 100
_ENDINGS = (".yaml", ".yml")
_DROP_IN = ".yaml"


def drop_in_directory(path: str | os.PathLike[str]) -> str:
    """Return the directory of a configuration file's drop-ins: ``a.d`` for ``a.yaml``."""
    name = os.fspath(path)
    for ending in _ENDINGS:
        if name.endswith(ending) and not name.endswith(f"/{ending}") and name != ending:
            return f"{name.removesuffix(ending)}.d"
    return f"{name}.d"


def files(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the files that a configuration's path means now, in the order in which they are read.

    The file itself is the first, if it is there; then come its drop-ins. None may be there, and
    none is listed of a directory that cannot be read: what reads the configuration says so.
    """
    name = os.fspath(path)
    itself = (name,) if os.path.lexists(name) else ()
    try:
        return (*itself, *drop_ins(name))
    except ConfigError:
        return itself


def drop_ins(path: str) -> tuple[str, ...]:
    """Return a configuration file's drop-ins, sorted by the bytes of their names.

    :raises ConfigError: their directory cannot be read, or has more than FILES_LIMIT of them.
    """
    directory = drop_in_directory(path)
    names: list[str] = []
    message = ""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(_DROP_IN) and not entry.name.startswith("."):
                    names.append(entry.name)
                    if len(names) > FILES_LIMIT:
                        break
    except (OSError, ValueError) as error:
        # What cannot be a directory's name, or is below what is no directory, is not there.
        if os.path.lexists(directory):
            message = f"it cannot be read: {_why(error)}"
    if len(names) > FILES_LIMIT:
        message = f"expected at most {FILES_LIMIT} files (*{_DROP_IN}), found more"
    if message:
        raise ConfigError([Problem(directory, 0, 0, "", message)])
    return tuple(f"{directory}/{name}" for name in sorted(names, key=os.fsencode))


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "a symbolic link to a directory that does not exist"
    if isinstance(error, PermissionError):
        return f"no permission: let user ID {os.geteuid()} read it, or be another"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
