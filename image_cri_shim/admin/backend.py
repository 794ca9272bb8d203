"""What the admin interface shows and does, as the daemon implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from image_cri_shim.pull_book import PullBook
from image_cri_shim.pull_record import Document


class BadRequest(Exception):
    """What was asked for makes no sense; the message is a sentence for who asked."""


class NotKnown(Exception):
    """What was asked for is not there; the message is a sentence for who asked."""


class Backend(Protocol):
    """The daemon, as the admin interface sees it. All of it is called in the reactor's thread."""

    @property
    def book(self) -> PullBook:
        """What is known of pulls."""

    def status(self) -> Document:
        """Return the status document (``docs/status.schema.json``)."""

    def metrics(self, accept: str) -> tuple[bytes, bytes]:
        """Return the metrics: their content type, and they themselves.

        :param accept: what the client said that it takes; empty if nothing.
        :raises ModuleNotFoundError: prometheus_client is not installed.
        """

    def ready(self) -> Sequence[str]:
        """Return why the daemon is not ready, a sentence each; nothing if it is."""

    def reload(self) -> Document | Deferred[Document]:
        """Read the configuration again; return what came of it (``ok``, ``outcome`` ...)."""

    def flush(self, image: str | None = None, registry: str | None = None) -> Document:
        """Forget what registries answered, of one image, of one registry, or all; say how much.

        :raises BadRequest: it is no image reference.
        :raises NotKnown: there is no such registry.
        """

    def set_level(self, component: str, level: str) -> Document:
        """Log another level of a component (``all`` for all); return the levels that are.

        :param level: empty for the configured one.
        :raises BadRequest: there is no such component or level.
        """
