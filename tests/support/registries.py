"""Run a real registry: docker-registry (CNCF distribution 2.8) as a child process."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process, free_port

PROGRAM = "docker-registry"
READINESS = "readiness"
# How the registry's log ends when a request came without credentials: Basic, Bearer.
MISSING = ("invalid authorization credential", "authorization token required")


@dataclass(frozen=True)
class TokenSettings:
    """Say whose Bearer tokens a registry takes: the `auth.token` part of its configuration.

    `bundle` is the file with the certificates that token signatures must lead to.
    """

    realm: str
    service: str
    issuer: str
    bundle: Path


@dataclass(frozen=True)
class Request:
    """One request as the registry logged it.

    `credentials` is `accepted`, `refused` (wrong), `none` (the client sent none), or `unseen`
    where the registry does not ask for any and so does not look.
    """

    method: str
    path: str
    status: int
    credentials: str
    user_agent: str


def why_not(*, users: bool = True) -> str | None:
    """Say why docker-registry cannot run here (with `users`: with passwords), or None."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed (apt install docker-registry)"
    if users and shutil.which("htpasswd") is None:
        return "htpasswd is not installed (apt install apache2-utils)"
    return None


class DockerRegistry(Process):
    """Serve a registry on 127.0.0.1; `stop`, `kill` and `start` keep the port and the content.

    `htpasswd` is `(user, password)` for Basic, `token` for Bearer, `tls` is
    `(certificate, key)`: paths of PEM files.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        htpasswd: tuple[str, str] | None = None,
        token: TokenSettings | None = None,
        tls: tuple[Path, Path] | None = None,
        delete: bool = True,
        port: int | None = None,
    ) -> None:
        super().__init__("docker-registry", directory)
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._tls = tls
        self._configuration = self.directory / "registry.yml"
        settings: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "storage")},
                "delete": {"enabled": delete},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {
                "addr": self.host,
                "secret": "laboratory",
                **({"tls": {"certificate": str(tls[0]), "key": str(tls[1])}} if tls else {}),
            },
        }
        if htpasswd:
            settings["auth"] = {"htpasswd": {"realm": "laboratory", "path": self._users(htpasswd)}}
        elif token:
            settings["auth"] = {
                "token": {
                    "realm": token.realm,
                    "service": token.service,
                    "issuer": token.issuer,
                    "rootcertbundle": str(token.bundle),
                }
            }
        # JSON is YAML, so the standard library can write it.
        self._configuration.write_text(json.dumps(settings, indent=1))

    def command(self) -> Sequence[str]:
        return (PROGRAM, "serve", str(self._configuration))

    def ready(self) -> bool:
        connection: http.client.HTTPConnection
        if self._tls:
            context = ssl.create_default_context(cafile=str(self._tls[0]))
            context.check_hostname = False
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=2, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/v2/", headers={"User-Agent": READINESS})
            return connection.getresponse().status in (200, 401)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def requests(self) -> list[Request]:
        """Return the requests answered so far, in the order of the answers, from the log.

        The log tells how credentials fared but names no headers; who must see the headers
        themselves uses a MemoryRegistry.
        """
        accepted: set[str] = set()
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if not line.startswith("{"):
                continue
            entry = json.loads(line)
            message = str(entry.get("msg", ""))
            number = entry.get("http.request.id", "")
            agent = entry.get("http.request.useragent", "")
            if message == "authorized request":
                accepted.add(number)
            if message.startswith("error authorizing context"):
                status = 401
                missing = message.endswith(MISSING)
                credentials = "none" if missing else "refused"
            elif message.startswith("response completed"):
                status = entry["http.response.status"]
                credentials = "accepted" if number in accepted else "unseen"
            else:
                continue
            if agent != READINESS:
                found.append(
                    Request(
                        method=entry["http.request.method"],
                        path=entry["http.request.uri"],
                        status=status,
                        credentials=credentials,
                        user_agent=agent,
                    )
                )
        return found

    def _users(self, user: tuple[str, str]) -> str:
        """Write the user file (bcrypt, the one kind that the registry takes); return its path."""
        path = self.directory / "htpasswd"
        name, password = user
        # The password goes by standard input: arguments can be read by every process.
        made = subprocess.run(
            ["htpasswd", "-n", "-i", "-B", "-C", "5", name],
            input=password.encode(),
            capture_output=True,
            check=True,
        )
        path.write_bytes(made.stdout)
        path.chmod(0o600)
        return str(path)
