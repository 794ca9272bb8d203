"""A node with a failure, and its operator, who has nothing but `status` and `decisions`."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from tests.support.daemon import CONSOLE, Daemon, run_program
from tests.support.runtime_client import RuntimeClient
from tests.troubleshooting.page import COMMANDS, KUBELET, Section, unseen


class Node:
    """A daemon with a client, the kubelet of this node.

    `said` is what the kubelet has said of the last call that failed.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.kubelet = RuntimeClient(daemon.socket)
        self.said = ""

    def call(self, name: str, **fields: object) -> str:
        """Call a method of the CRI; return what the kubelet says of the failure, or nothing."""
        try:
            self.kubelet.call(name, deadline=20, **fields)
        except grpc.RpcError as error:
            code = "".join(word.capitalize() for word in error.code().name.split("_"))
            self.said = f"rpc error: code = {code} desc = {error.details()}"
            return self.said
        return ""

    def pull(self, image: str) -> str:
        """Pull an image; return what the kubelet says of the failure, or nothing."""
        return self.call("PullImage", image={"image": image})

    def run(self, *command: str) -> str:
        """Run a command of the program for this daemon and return what it prints."""
        ended = run_program(CONSOLE, *command, "--socket", self.daemon.admin)
        assert ended.stderr == "", ended.stderr
        return ended.stdout

    def shows(self, section: Section, names: Mapping[str, str] | None = None) -> None:
        """Make sure that the operator sees what the page says, word for word."""
        assert any(section.lines.get(command) for command in COMMANDS), "nothing is said of it"
        for source, lines in section.lines.items():
            printed = self.said if source == KUBELET else self.run(source)
            missing = unseen(lines, printed, names or {})
            assert missing == [], f"{section.title}: `{source}` printed:\n{printed}"

    def close(self) -> None:
        """Let the client go; the daemon is somebody else's."""
        self.kubelet.close()
