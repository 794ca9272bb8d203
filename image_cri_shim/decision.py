"""The values that one pull passes through: candidates, look-ups, the decision, what came of it."""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import attrs

from image_cri_shim.credentials import Credentials
from image_cri_shim.reference import ImageReference

# Which references a registry is trusted for: a digest proves what it names, a tag does not.
TrustFor: TypeAlias = Literal["all", "digest", "tag"]


@attrs.frozen
class Registry:
    """An OCI distribution server, or a part of one, that the operator configured.

    :ivar domain: ``host[:port]``, as it stands in the references of its images.
    :ivar plain_http: whether it is spoken to without TLS.
    :ivar credentials: what it asks for, or None.
    :ivar priority: 0 to 10000; a higher one is asked first.
    :ivar offline: whether it is the cluster's own, the one under ``address``.
    :ivar prefix: the path below which it holds other registries' images, or empty.
    :ivar keep_host: whether the origin's host is the first component of the path there.
    :ivar trust_for: which references it is a source for.
    :ivar auth_file: the absolute path of a docker ``config.json`` with its credentials, or None.
    :ivar auth_credential: the name of the systemd credential with its ``user:password``, or None.
    :ivar ca_file: PEM file with certificates that are trusted besides the system's, or None.
    :ivar cert_file: PEM file with the certificate that is shown to it, or None.
    :ivar key_file: PEM file with that certificate's key; None if it is in the same file.
    :ivar insecure_skip_verify: whether its certificate is not verified.
    :ivar connect_timeout: seconds to find its host and to connect to it.
    :ivar timeout: seconds for a whole look-up.
    :ivar max_connections: how many look-ups it is asked at the same time.
    """

    domain: str
    plain_http: bool = False
    credentials: Credentials | None = None
    priority: int = 500
    offline: bool = False
    prefix: str = ""
    keep_host: bool = False
    trust_for: TrustFor = "all"
    auth_file: str | None = None
    auth_credential: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False
    connect_timeout: float = 3.0
    timeout: float = 10.0
    max_connections: int = 16

    @property
    def has_credentials(self) -> bool:
        """Whether the configuration says where its credentials are."""
        return bool(self.credentials or self.auth_file or self.auth_credential)

    @property
    def name(self) -> str:
        """What rules, messages and the log call it: its domain, and its prefix if it has one."""
        return f"{self.domain}/{self.prefix}" if self.prefix else self.domain

    @property
    def url(self) -> str:
        """The base of its addresses, without a slash at the end."""
        return f"{'http' if self.plain_http else 'https'}://{self.domain}"


@attrs.frozen
class Candidate:
    """A registry plus the reference rewritten for it; or the name as it was written.

    :ivar name: what the runtime is asked for.
    :ivar reference: the same, parsed.
    :ivar registry: the configured registry it is pulled from; None for any other origin.
    :ivar rewritten: False for the name as it was written, whose registry is the origin.
    :ivar forbidden: the domain that nobody may be led to by asking for it: the origin's, where the
        rule does not allow it; empty for none.
    """

    name: str
    reference: ImageReference
    registry: Registry | None = None
    rewritten: bool = False
    forbidden: str = attrs.field(default="", eq=False, repr=False)

    @property
    def label(self) -> str:
        """What kind of source this is, in a word for the log."""
        if not self.rewritten:
            return "origin"
        return "offline" if self.registry is not None and self.registry.offline else "registry"

    @property
    def source(self) -> str:
        """What the registry is called."""
        return self.registry.name if self.registry is not None else self.reference.domain

    def __str__(self) -> str:
        """Write what is pulled."""
        return self.name


class Outcome(enum.Enum):
    """What a look-up found out."""

    PRESENT = "present"
    ABSENT = "absent"
    # Nothing: the registry failed. Never a "no".
    UNKNOWN = "unknown"


@attrs.frozen
class LookUp:
    """The answer to one question to a registry: do you hold this manifest?

    :ivar detail: why, in the operator's words: ``404``, ``timed out after 10s``; empty if present.
    :ivar elapsed: seconds from question to answer.
    :ivar digest: the manifest's digest where the registry told it.
    :ivar timed_out: whether the registry did not answer in time.
    :ivar asked: False if the registry was not asked at all because it has been failing.
    :ivar cached: whether the answer is one from before.
    :ivar slow: whether it was passed over because another registry had the image already.
    """

    candidate: Candidate
    outcome: Outcome
    detail: str = ""
    elapsed: float = 0.0
    digest: str | None = None
    timed_out: bool = False
    asked: bool = True
    cached: bool = False
    slow: bool = False

    def __str__(self) -> str:
        """Say it for the log: ``sealos.hub:5000: absent (404)``."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.candidate.source}: {self.outcome.value}{detail}"


@attrs.frozen
class Decision:
    """The outcome for one reference.

    :ivar attempts: what to pull, in order; empty only if the origin is not allowed.
    :ivar look_ups: what was asked to get there, in order.
    :ivar elapsed: seconds that it took.
    :ivar rule: the rule that decided, ``rule 2 (quay.io)``; empty if none matched.
    :ivar excluded: what the rule says that leaves the reference alone, or empty.
    :ivar origin_allowed: whether the name as it was written may be pulled.
    """

    attempts: tuple[Candidate, ...]
    look_ups: tuple[LookUp, ...] = ()
    elapsed: float = 0.0
    rule: str = ""
    excluded: str = ""
    origin_allowed: bool = True

    def look_up(self, candidate: Candidate) -> LookUp | None:
        """Return what was asked about ``candidate``, if anything."""
        return next((found for found in self.look_ups if found.candidate == candidate), None)


# The error of a pull, or of an attempt, that its client has given up.
GIVEN_UP = "cancelled"


@attrs.frozen
class Attempt:
    """One pull that the runtime was asked for.

    :ivar error: what the runtime answered, ``UNKNOWN: message``; empty if it pulled.
    :ivar elapsed: seconds that it took.
    """

    candidate: Candidate
    error: str
    elapsed: float


@attrs.frozen
class Pull:
    """What came of one PullImage.

    :ivar image: what the client asked for; anything, if there was no attempt.
    :ivar attempts: none if it was no image reference and went to the runtime as it was.
    :ivar error: why it failed, or empty.
    :ivar elapsed: seconds from the request to the answer.
    :ivar image_ref: what the runtime calls the image that it pulled; empty if it failed.
    """

    image: str
    attempts: tuple[Attempt, ...]
    error: str
    elapsed: float
    image_ref: str = ""
