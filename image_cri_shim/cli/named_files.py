"""The files that a configuration names: whether they are there, readable, and what they should be.

They are read by what the daemon reads them with, which it does when it first needs them.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from image_cri_shim.cli.certificate_files import check_authorities, check_own, holds_key
from image_cri_shim.cli.finding import Finding
from image_cri_shim.cli.login_files import check_credential, check_login, holds_secrets
from image_cri_shim.config import Config
from image_cri_shim.config.caution import public_secret
from image_cri_shim.decision import Registry


def check_files(
    config: Config, now: float, credentials_directory: str | None = None, *, by_name: bool = False
) -> list[Finding]:
    """Return what is to be said about the files, in the order of the registries that name them.

    :param now: seconds since 1970, for what is valid only for a time.
    :param credentials_directory: where systemd has put credentials; None for none.
    :param by_name: whether registries are called by their names and not by their places.
    """
    keys = {
        f"registries[{one.name if by_name else index}]": one
        for index, one in enumerate(config.registries)
    }
    if config.offline is not None:
        keys = {"offline": config.offline, **keys}
    found = []
    for key, registry in keys.items():
        for one in _check(registry, now, credentials_directory):
            words = one.words if one.is_problem else f"registry {registry.name}: {one.words}"
            found.append(attrs.evolve(one, key=f"{key}.{one.key}", words=words))
    return [*found, *_exposed(keys)]


def _check(registry: Registry, now: float, directory: str | None) -> Iterator[Finding]:
    yield from check_login(registry)
    yield from check_credential(registry, directory)
    yield from check_authorities(registry, now)
    yield from check_own(registry, now)


def _exposed(registries: dict[str, Registry]) -> Iterator[Finding]:
    """Yield each file with a secret that everybody on the machine can read, once.

    :param registries: by the keys that configure them.
    """
    warned = set()
    for key, registry in registries.items():
        for inner, path, what in _secrets(registry):
            words = "" if path in warned else public_secret(path, what)
            if words:
                warned.add(path)
                yield Finding(f"{key}.{inner}", words)


def _secrets(registry: Registry) -> Iterator[tuple[str, str, str]]:
    """Yield a registry's files with secrets: the key that names it, its path, what it holds."""
    if registry.auth_file is not None and holds_secrets(registry.auth_file):
        yield "authFile", registry.auth_file, "passwords"
    for inner, path in (("certFile", registry.cert_file), ("keyFile", registry.key_file)):
        if path is not None and holds_key(path):
            yield inner, path, "a private key"
