"""Registries' credentials as commands handle them: known, and kept out of what is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry
from image_cri_shim.redaction import Redactor
from image_cri_shim.registry.failure import Unanswered

# Finds a registry's credentials; the Deferred fails with Unanswered if that cannot be done.
FindCredentials: TypeAlias = Callable[[Registry], Deferred[Credentials | None]]


@attrs.frozen
class Secrets:
    """What a command knows of a registry's credentials.

    :ivar known: whether there are any; None if that cannot be found out.
    :ivar redactor: keeps them out of what the registry says. No other registry knows them.
    """

    known: bool | None
    redactor: Redactor


def secrets_of(registry: Registry, find: FindCredentials) -> Deferred[Secrets]:
    """Find a registry's credentials, to hide them; the Deferred fails only if it is cancelled."""

    def found(credentials: Credentials | None) -> Secrets:
        if credentials is None:
            return Secrets(known=False, redactor=Redactor())
        return Secrets(known=True, redactor=Redactor(credentials.spellings()))

    def unavailable(failure: Failure) -> Secrets:
        failure.trap(Unanswered)
        return Secrets(known=None, redactor=Redactor())

    return find(registry).addCallbacks(found, unavailable)
