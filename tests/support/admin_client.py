"""A client of the admin interface: HTTP over a unix socket or TCP."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any


class Connection(http.client.HTTPConnection):
    """A connection to a path, or to an address and a port."""

    def __init__(self, where: str | tuple[str, int], seconds: float = 10) -> None:
        super().__init__("localhost", timeout=seconds)
        self._where = where

    def connect(self) -> None:
        family = socket.AF_UNIX if isinstance(self._where, str) else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._where)


def ask(
    where: str | tuple[str, int],
    path: str,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Return the status and what was answered: JSON taken apart, anything else as text."""
    connection = Connection(where)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.getheader("Content-Type") == "application/json":
            return answer.status, json.loads(text)
        return answer.status, text
    finally:
        connection.close()


class Following:
    """Follow the decisions; iterating waits for the next one."""

    def __init__(self, where: str | tuple[str, int], query: str = "") -> None:
        self._connection = Connection(where, 20)
        self._connection.request("GET", f"/decisions?follow=1{query}")
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._answer:
            if line.strip():
                yield json.loads(line)

    def close(self) -> None:
        """Follow no longer."""
        self._answer.close()
        self._connection.close()
