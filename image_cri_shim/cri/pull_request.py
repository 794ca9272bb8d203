"""What a client wants to be pulled, and how the runtime is asked for one of its candidates."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import attrs

from image_cri_shim.credentials import Credentials
from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.status import frame
from image_cri_shim.decision import Candidate

_URL_SAFE = str.maketrans("-_", "+/")


@attrs.frozen
class PullRequest:
    """A PullImageRequest.

    :ivar message: as the client sent it, with its prefix.
    :ivar parsed: the same, read.
    """

    message: bytes = attrs.field(repr=False)
    parsed: cri_pb2.PullImageRequest = attrs.field(repr=False)

    @property
    def image(self) -> str:
        """What is to be pulled, as the client calls it."""
        return str(self.parsed.image.image)

    @property
    def has_credentials(self) -> bool:
        """Whether the client sent credentials, of whatever kind."""
        auth = self.parsed.auth
        return any(
            (auth.username, auth.password, auth.auth, auth.identity_token, auth.registry_token)
        )

    def secrets(self) -> Iterator[str]:
        """Return what a runtime may echo of the client's credentials, however they were sent."""
        auth = self.parsed.auth
        yield from Credentials(auth.username, auth.password).spellings() if auth.password else ()
        yield from (auth.auth, auth.auth.rstrip("="), auth.identity_token, auth.registry_token)
        pair = _decoded(auth.auth)
        username, _, password = pair.partition(":")
        yield pair
        yield from Credentials(username, password).spellings() if password else ()

    def for_candidate(self, candidate: Candidate, credentials: Credentials | None) -> bytes:
        """Return the message that asks for one candidate.

        Credentials never travel to another host: the client's go along with the name as it was
        written and with no other.

        :param credentials: the configured ones of the candidate's registry, if they are to be sent.
        """
        if not candidate.rewritten and credentials is None:
            return self.message
        changed = cri_pb2.PullImageRequest()
        changed.CopyFrom(self.parsed)
        changed.image.image = candidate.name
        changed.ClearField("auth")
        if credentials is not None and credentials.identity_token:
            # Alone: runtimes would take a user name beside it for what is to be sent.
            changed.auth.identity_token = credentials.identity_token
        elif credentials is not None:
            changed.auth.username = credentials.username
            changed.auth.password = credentials.password
        return frame(changed.SerializeToString())


def read_pull_request(call: Call) -> PullRequest:
    """Read the message of a PullImage call.

    :raises DecodeError: it is none.
    """
    return PullRequest(call.message, cri_pb2.PullImageRequest.FromString(call.payload))


def _decoded(auth: str) -> str:
    """Return the ``user:password`` that ``AuthConfig.auth`` stands for, or nothing.

    In Base64, like docker's configuration; runtimes drop the zeros that docker once put behind it.
    """
    text = auth.translate(_URL_SAFE).rstrip("=")
    try:
        pair = base64.b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return ""
    # As status messages are decoded, or what is no UTF-8 would not be found in them.
    return pair.decode("utf-8", "replace").strip("\0")
