"""The files that a configuration names: whether they are there, readable, and what they should be.

They are read by what the daemon reads them with, which it does when it first needs them.
"""

from __future__ import annotations

from collections.abc import Iterator

from image_cri_shim.config import Config
from image_cri_shim.decision import Registry
from image_cri_shim.errors import Problem
from image_cri_shim.registry.certificates import read_certificates, read_client_certificate
from image_cri_shim.registry.docker_config import parse_docker_config
from image_cri_shim.registry.failure import Unanswered
from image_cri_shim.registry.local_file import read_file


def check_files(config: Config, name: str) -> Iterator[Problem]:
    """Yield what is wrong with the files, in the order of the registries in the configuration.

    :param name: what to call the configuration's file.
    """
    keys = {f"registries[{index}]": one for index, one in enumerate(config.registries)}
    if config.offline is not None:
        keys = {"offline": config.offline, **keys}
    for key, registry in keys.items():
        for inner, detail in _unusable(registry):
            yield Problem(name, 0, 0, f"{key}.{inner}", detail)


def forgotten_logins(config: Config) -> Iterator[str]:
    """Yield a sentence for each registry whose file has no credentials for it."""
    for registry in config.all_registries:
        if registry.auth_file is None:
            continue
        try:
            found = parse_docker_config(read_file(registry.auth_file))
            if found.find(registry.domain, registry.prefix) is None:
                yield (
                    f"registry {registry.name}: {registry.auth_file} has no credentials for it, "
                    "so it is asked anonymously"
                )
        except (Unanswered, ValueError):
            # What is a problem is told as one.
            continue


def _unusable(registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield the key of each file that is of no use, and why it is not."""
    if registry.auth_file is not None:
        try:
            content = read_file(registry.auth_file)
            parse_docker_config(content).find(registry.domain, registry.prefix)
        except Unanswered as problem:
            yield "authFile", problem.detail
        except ValueError as problem:
            yield "authFile", f"cannot use {registry.auth_file}: {problem}"
    if registry.ca_file is not None:
        try:
            read_certificates(registry.ca_file)
        except Unanswered as problem:
            yield "caFile", problem.detail
    if registry.cert_file is not None:
        key = "certFile"
        try:
            read_certificates(registry.cert_file)
            key = "certFile" if registry.key_file is None else "keyFile"
            read_client_certificate(registry.cert_file, registry.key_file)
        except Unanswered as problem:
            yield key, problem.detail
