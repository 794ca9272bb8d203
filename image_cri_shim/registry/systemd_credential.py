"""Credentials that systemd hands to a service: files in its $CREDENTIALS_DIRECTORY.

Source: systemd.exec(5), section "Credentials".
"""

from __future__ import annotations

import os

from image_cri_shim.config.excerpt import has_control
from image_cri_shim.credentials import DIRECTORY_VARIABLE, Credentials, parse_credentials
from image_cri_shim.decision import Registry
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.local_file import cannot_use, read_file

# What the offline registry gets if nothing is said of its credentials, and this is there.
DEFAULT_CREDENTIAL = "image-cri-shim.auth"


def credential_path(registry: Registry, directory: str | None) -> str | None:
    """Return the path of the credential that a registry gets; None if it gets none.

    :param directory: the service's; None if it has none.
    :raises Unanswered: the registry has one, and there is no directory.
    """
    name = registry.auth_credential
    if name is not None:
        if directory:
            return f"{directory}/{name}"
        raise Unanswered(
            f"cannot use the credential {name}: there is no ${DIRECTORY_VARIABLE}, which systemd "
            f"sets for a service with LoadCredential={name}"
        )
    if directory and registry.offline and not registry.has_credentials:
        path = f"{directory}/{DEFAULT_CREDENTIAL}"
        return path if os.path.lexists(path) else None
    return None


def read_credential(path: str) -> Credentials:
    """Read the ``user:password`` in a file; a line break at its end is no part of it.

    :raises Unanswered: it cannot be read, or holds something else. What it holds is not repeated.
    """
    content = read_file(path)
    why = ""
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
        if has_control(text):
            why = "expected user:password on one line, found a control character in it"
        else:
            return parse_credentials(text)
    except UnicodeDecodeError:
        why = "expected user:password, found a byte that is not UTF-8"
    except ValueError as problem:
        why = str(problem)
    raise cannot_use(path, why)
