"""Certificates that the shim, or only the runtime, does not believe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.support.certificates import client_context, make_certificate, self_signed, server_context
from tests.support.images import build_image, push
from tests.support.memory_registry import MemoryRegistry
from tests.troubleshooting.conftest import MakeNode, RealRuntime
from tests.troubleshooting.page import Section, shows

IMAGE = "quay.io/team/app:1"
Harbor = Callable[[Path, Path], MemoryRegistry]


@pytest.fixture
def make_harbor(runtime: RealRuntime) -> Iterator[Harbor]:
    """Return a function that starts a registry with a certificate; it has the image."""
    made: list[MemoryRegistry] = []

    def make(certificate: Path, key: Path) -> MemoryRegistry:
        made.append(MemoryRegistry(tls=server_context(certificate, key)).start())
        runtime.trusts(made[-1].host, made[-1].url)
        return made[-1]

    yield make
    for registry in made:
        registry.stop()


def config(registry: MemoryRegistry, *more: str) -> str:
    lines = ["address: ''", "registries:", f"- address: {registry.url}"]
    return "\n".join([*lines, *(f"  {line}" for line in more)]) + "\n"


@shows("a-self-signed-certificate")
def test_a_ca_that_nobody_knows_is_missing_twice(
    make_node: MakeNode,
    make_harbor: Harbor,
    runtime: RealRuntime,
    tmp_path: Path,
    section: Section,
) -> None:
    harbor = make_harbor(*self_signed(tmp_path))
    node = make_node(runtime.socket, config(harbor))
    assert "x509" in node.pull(IMAGE)
    node.shows(section, {"harbor.corp": harbor.host})


@shows("a-self-signed-certificate-that-only-the-runtime-does-not-know")
def test_a_runtime_without_the_ca_is_told_apart_from_the_shim(
    make_node: MakeNode,
    make_harbor: Harbor,
    runtime: RealRuntime,
    origin: MemoryRegistry,
    tmp_path: Path,
    section: Section,
) -> None:
    certificate, key = self_signed(tmp_path)
    harbor = make_harbor(certificate, key)
    image = build_image("trusted by the shim")
    push(harbor.url, "team/app", "1", image, tls=client_context(certificate))
    push(origin.url, "team/app", "1", image)
    node = make_node(runtime.socket, config(harbor, f"caFile: {certificate}"))
    assert node.pull(IMAGE) == ""
    del origin.manifests["team/app", "1"]
    node.shows(section, {"harbor.corp": harbor.host})


@shows("a-certificate-for-another-name")
def test_a_certificate_for_another_name_is_called_that(
    make_node: MakeNode,
    make_harbor: Harbor,
    runtime: RealRuntime,
    tmp_path: Path,
    section: Section,
) -> None:
    certificate, key = self_signed(tmp_path, "registry.corp")
    harbor = make_harbor(certificate, key)
    node = make_node(runtime.socket, config(harbor, f"caFile: {certificate}"))
    assert "x509" in node.pull(IMAGE)
    node.shows(section, {"harbor.corp": harbor.host})


@shows("an-expired-certificate")
def test_an_expired_certificate_is_called_that(
    make_node: MakeNode,
    make_harbor: Harbor,
    runtime: RealRuntime,
    tmp_path: Path,
    section: Section,
) -> None:
    certificate, key = expired(tmp_path)
    harbor = make_harbor(certificate, key)
    node = make_node(runtime.socket, config(harbor, f"caFile: {certificate}"))
    assert "x509" in node.pull(IMAGE)
    node.shows(section, {"harbor.corp": harbor.host})


def expired(directory: Path) -> tuple[Path, Path]:
    """Write a certificate that was valid until yesterday, and its key."""
    key, template = make_certificate("localhost", "127.0.0.1")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday - timedelta(days=1))
        .not_valid_after(yesterday)
    )
    for extension in template.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    certificate = builder.sign(key, hashes.SHA256())
    paths = directory / "expired.crt", directory / "expired.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
