"""Run pods by the CRI, as a kubelet would: in the host's network, so that no CNI is needed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from tests.support.runtime_client import RuntimeClient

NODE = 2  # NamespaceMode
READY, NOT_READY = 0, 1  # PodSandboxState
CREATED, RUNNING, EXITED = 0, 1, 2  # ContainerState

_NUMBERS = itertools.count(1)


class Pod:
    """One pod sandbox and the containers in it; `remove` takes everything away.

    `config` is its PodSandboxConfig as a dict. Logs go to files below `logs`.
    """

    def __init__(
        self, client: RuntimeClient, logs: Path, *, labels: dict[str, str] | None = None
    ) -> None:
        self.client = client
        self.logs = logs
        number = next(_NUMBERS)
        self.config: dict[str, Any] = {
            "metadata": {"name": f"pod{number}", "uid": f"uid{number}", "namespace": "lab"},
            "log_directory": str(logs),
            "labels": labels or {"pod": str(number)},
            "annotations": {"note": "kept as it is"},
            "linux": {"security_context": {"namespace_options": {"network": NODE}}},
        }
        answer = client.call("RunPodSandbox", config=self.config)
        self.id: str = answer.pod_sandbox_id

    def create(
        self, image: str | dict[str, str], *command: str, name: str = "main", **more: object
    ) -> str:
        """Create a container from `image`; `more` are fields of its ContainerConfig.

        `image` is a name, a digest, an ID, or a whole ImageSpec as a dict.
        """
        config = {
            "metadata": {"name": name},
            "image": {"image": image} if isinstance(image, str) else image,
            "command": list(command),
            "log_path": f"{name}.log",
            "labels": {"name": name},
            "annotations": {"note": "kept as well"},
            "linux": {"security_context": {"namespace_options": {"network": NODE}}},
            **more,
        }
        answer = self.client.call(
            "CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config
        )
        identity: str = answer.container_id
        return identity

    def run(
        self, image: str | dict[str, str], *command: str, name: str = "main", **more: object
    ) -> str:
        """Create a container and start it."""
        container = self.create(image, *command, name=name, **more)
        self.client.call("StartContainer", container_id=container)
        return container

    def status(self, container: str) -> Message:
        """Return the ContainerStatus of a container."""
        answer: Any = self.client.call("ContainerStatus", container_id=container)
        status: Message = answer.status
        return status

    def remove(self) -> None:
        """Stop and remove the sandbox with all that is in it; no error when it has gone."""
        # Not every runtime takes the stop of a sandbox that was removed.
        self.client.outcome("StopPodSandbox", pod_sandbox_id=self.id)
        self.client.call("RemovePodSandbox", pod_sandbox_id=self.id)
