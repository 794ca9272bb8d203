"""Login files that a configuration names: whether they have what a registry will ask for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from image_cri_shim.cli.finding import Finding
from image_cri_shim.decision import Registry
from image_cri_shim.registry.docker_config import DockerConfig, Helper, parse_docker_config
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.local_file import cannot_use, read_file
from image_cri_shim.registry.systemd_credential import credential_path, read_credential


def check_login(registry: Registry) -> Iterator[Finding]:
    """Yield what there is to say about what a registry's login file has for it."""
    path = registry.auth_file
    if path is None:
        return
    try:
        found = _read(path).find(registry.domain, registry.prefix)
    except Unanswered as problem:
        yield _problem(problem)
        return
    except ValueError as problem:
        yield _problem(cannot_use(path, str(problem)))
        return
    if isinstance(found, Helper):
        if shutil.which(found.program) is None:
            why = f"the credential helper that it names, {found.program}, is not in PATH"
            yield _problem(cannot_use(path, why))
    elif found is None:
        yield Finding(
            "authFile",
            f"{path} has no usable credentials for it (`auth`, `username` with `password`, or "
            "`identitytoken`), so it is asked anonymously",
        )
    elif not found.password and not found.identity_token:
        yield Finding("authFile", f"{path} has a user name for it, but no password")


def check_credential(registry: Registry, directory: str | None) -> Iterator[Finding]:
    """Yield what there is to say about the credential that systemd hands over for a registry.

    :param directory: where those are; None if nothing can be seen of them here.
    """
    name = registry.auth_credential
    if name is not None and not directory:
        yield Finding(
            "authCredential",
            f"whether the credential {name} can be used shows only in the service, to which "
            "systemd hands it",
        )
        return
    try:
        path = credential_path(registry, directory)
        found = None if path is None else read_credential(path)
    except Unanswered as problem:
        yield Finding("authCredential", problem.detail, is_problem=True)
        return
    if found is not None and not found.password:
        yield Finding("authCredential", f"{path} has a user name for it, but no password")


def holds_secrets(path: str) -> bool:
    """Tell whether a login file has credentials itself, for whichever registry."""
    try:
        return any(_read(path).auths.values())
    except (Unanswered, ValueError):
        return False


def _read(path: str) -> DockerConfig:
    return parse_docker_config(read_file(path))


def _problem(problem: Unanswered) -> Finding:
    return Finding("authFile", problem.detail, is_problem=True)
