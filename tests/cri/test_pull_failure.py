"""Which failed pulls another source may cure, and the words for those that none did.

What is marked as containerd's was said by containerd 1.6 (with other names for hosts and files);
CRI-O's and cri-dockerd's messages are from their users' reports.
"""

from __future__ import annotations

import pytest

from image_cri_shim.cri.pull_failure import is_final, refusal, remark, shortened, with_account
from image_cri_shim.cri.status import Answer, Code, encode_message
from image_cri_shim.decision import Attempt, Candidate, Decision, LookUp, Outcome, Registry
from image_cri_shim.policy import Policy
from image_cri_shim.redaction import Redactor

LONG = 600.0
FAILED_PRECONDITION = 9
# How containerd begins.
PULLING = 'failed to pull and unpack image "hub/a/b:1": '
RESOLVING = f'{PULLING}failed to resolve reference "hub/a/b:1": '
STORE = "/var/lib/containerd/io.containerd.content.v1.content/ingest/5865"
STATUS = "pulling from host hub failed with status code [manifests 1]: "
BLOB = "httpReadSeeker: failed open: unexpected status code http://hub/v2/a/b/blobs/sha256:17ab: "

CURABLE = {
    # containerd, resolving the reference
    "no such manifest": (Code.NOT_FOUND, f"{RESOLVING}hub/a/b:1: not found"),
    "400": (Code.UNKNOWN, f"{RESOLVING}{STATUS}400 Bad Request"),
    "401": (Code.UNKNOWN, f"{RESOLVING}{STATUS}401 Unauthorized"),
    "403": (Code.UNKNOWN, f"{RESOLVING}{STATUS}403 Forbidden"),
    "429": (Code.UNKNOWN, f"{RESOLVING}{STATUS}429 Too Many Requests"),
    "500": (Code.UNKNOWN, f"{RESOLVING}{STATUS}500 Internal Server Error"),
    "503": (Code.UNKNOWN, f"{RESOLVING}{STATUS}503 Service Unavailable"),
    "no token": (
        Code.UNKNOWN,
        f"{RESOLVING}failed to authorize: failed to fetch oauth token: unexpected status: "
        "401 Unauthorized",
    ),
    "refused": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": '
        "dial tcp 127.0.0.1:5: connect: connection refused",
    ),
    "no such host": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "https://hub/v2/a/b/manifests/1": '
        "dial tcp: lookup hub on 127.0.0.1:53: no such host",
    ),
    "packets are dropped": (
        Code.DEADLINE_EXCEEDED,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": '
        "dial tcp 127.0.0.1:5: i/o timeout",
    ),
    "plain http": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "https://hub/v2/a/b/manifests/1": '
        "tls: first record does not look like a TLS handshake",
    ),
    "dropped in the head": (
        Code.UNKNOWN,
        f'{RESOLVING}failed to do request: Head "http://hub/v2/a/b/manifests/1": '
        "net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon",
    ),
    "a host that it cannot parse": (
        Code.UNKNOWN,
        'failed to parse image reference "[::1]:5000/a/b:1": invalid reference format',
    ),
    # containerd, with the manifest
    "corrupt manifest": (
        Code.UNKNOWN,
        f"{PULLING}children: invalid desc sha256:9207: invalid character 'n' looking for "
        "beginning of object key string",
    ),
    "empty manifest": (
        Code.INVALID_ARGUMENT,
        f"{PULLING}unable to fetch descriptor () which reports content size of zero: "
        "invalid argument",
    ),
    "a web page": (
        Code.NOT_FOUND,
        f"{PULLING}failed to copy: httpReadSeeker: failed open: could not fetch content "
        "descriptor sha256:b633 (text/html) from remote: not found",
    ),
    "another manifest": (
        FAILED_PRECONDITION,
        f'{PULLING}failed commit on ref "manifest-sha256:4f59": unexpected commit digest '
        "sha256:3b10, expected sha256:4f59: failed precondition",
    ),
    "no such platform": (
        Code.NOT_FOUND,
        f"{PULLING}no match for platform in manifest: not found",
    ),
    # containerd, with a layer
    "layer missing": (
        Code.NOT_FOUND,
        f"{PULLING}failed to copy: httpReadSeeker: failed open: could not fetch content "
        "descriptor sha256:218b (application/vnd.oci.image.layer.v1.tar+gzip) from remote: "
        "not found",
    ),
    "layer 401": (Code.UNKNOWN, f"{PULLING}failed to copy: {BLOB}401 Unauthorized"),
    "layer 500": (Code.UNKNOWN, f"{PULLING}failed to copy: {BLOB}500 Internal Server Error"),
    "another layer": (
        FAILED_PRECONDITION,
        f'{PULLING}failed commit on ref "layer-sha256:d4cf": unexpected commit digest '
        "sha256:07b1, expected sha256:d4cf: failed precondition",
    ),
    "half a layer": (
        Code.UNKNOWN,
        f"{PULLING}failed to read expected number of bytes: unexpected EOF",
    ),
    "dropped in a layer": (
        Code.UNKNOWN,
        f'{PULLING}failed to copy: httpReadSeeker: failed open: failed to do request: Get "http:'
        '//hub/v2/a/b/blobs/sha256:17ab": net/http: HTTP/1.x transport connection broken: '
        "unexpected EOF",
    ),
    "not a layer": (
        Code.UNKNOWN,
        f"{PULLING}failed to extract layer sha256:27d9: mount callback failed on "
        "/var/lib/containerd/tmpmounts/containerd-mount12: unexpected EOF: unknown",
    ),
    "no progress": (Code.CANCELLED, f"{PULLING}context canceled"),
    # CRI-O
    "CRI-O, no progress": (
        Code.CANCELLED,
        "copying system image from manifest list: copying config: context canceled",
    ),
    "CRI-O, refused": (
        Code.UNKNOWN,
        'pinging container registry hub: Get "https://hub/v2/": dial tcp 127.0.0.1:443: connect: '
        "connection refused",
    ),
    "CRI-O, 404": (
        Code.UNKNOWN,
        "reading manifest 1 in hub/a/b: manifest unknown",
    ),
    # cri-dockerd
    "docker, 404": (
        Code.UNKNOWN,
        "Error response from daemon: manifest for hub/a/b:1 not found: manifest unknown",
    ),
    "docker, out of time": (Code.UNKNOWN, "context deadline exceeded"),
    # whatever the runtime
    "unauthenticated": (Code.UNAUTHENTICATED, "who are you?"),
    "denied": (Code.PERMISSION_DENIED, "no"),
    "unavailable": (Code.UNAVAILABLE, "RegistryUnavailable: hub"),
    "nothing at all": (Code.UNKNOWN, ""),
}

FINAL = {
    # containerd
    "store full": (
        Code.UNKNOWN,
        f"{PULLING}failed to copy: write {STORE}/data: no space left on device",
    ),
    "snapshots full": (
        Code.UNKNOWN,
        f"{PULLING}failed to extract layer sha256:2c26: mount callback failed on /var/lib/"
        "containerd/tmpmounts/containerd-mount21: write /var/lib/containerd/tmpmounts/"
        "containerd-mount21/data: no space left on device: unknown",
    ),
    "store read-only": (Code.UNKNOWN, f"{PULLING}mkdir {STORE}: read-only file system"),
    "snapshots read-only": (
        Code.UNKNOWN,
        f'{PULLING}failed to prepare extraction snapshot "extract-17 sha256:3bfa": failed to '
        "create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.native/"
        "snapshots/new-4: read-only file system",
    ),
    "over its quota": (
        Code.UNKNOWN,
        f"{PULLING}failed to copy: write {STORE}/data: disk quota exceeded",
    ),
    # CRI-O and cri-dockerd
    "CRI-O, full": (
        Code.UNKNOWN,
        'Error writing blob: error storing blob to file "/var/tmp/storage17/2": write '
        "/var/tmp/storage17/2: no space left on device",
    ),
    "docker, full": (
        Code.UNKNOWN,
        "failed to register layer: Error processing tar file(exit status 1): write "
        "/usr/lib/x.so: no space left on device",
    ),
    "a program's words": (Code.INTERNAL, "tar: /usr/lib/x.so: No space left on device"),
    # whatever the runtime
    "invalid": (Code.INVALID_ARGUMENT, "invalid reference format"),
    "out of time": (Code.DEADLINE_EXCEEDED, "context deadline exceeded"),
    "given up": (Code.CANCELLED, "context canceled"),
    "out of time without a word": (Code.DEADLINE_EXCEEDED, ""),
}


def answer(code: int, message: str) -> Answer:
    status = (b"grpc-status", b"%d" % code)
    return Answer([(b":status", b"200"), status, (b"grpc-message", encode_message(message))])


@pytest.mark.parametrize("name", CURABLE)
def test_what_another_source_may_cure_is_not_final(name: str) -> None:
    assert not is_final(answer(*CURABLE[name]), LONG)
    assert not is_final(answer(*CURABLE[name]), None)


@pytest.mark.parametrize("name", FINAL)
def test_what_no_other_source_cures_is_final(name: str) -> None:
    assert is_final(answer(*FINAL[name]), LONG)
    assert is_final(answer(*FINAL[name]), None)


@pytest.mark.parametrize("name", ["packets are dropped", "no progress", "CRI-O, no progress"])
def test_without_time_left_it_was_the_clients_deadline(name: str) -> None:
    assert is_final(answer(*CURABLE[name]), 0.5)
    assert is_final(answer(*CURABLE[name]), -1.0)


def test_little_time_left_makes_no_other_failure_final() -> None:
    assert not is_final(answer(*CURABLE["no such manifest"]), 0.5)


OFFLINE = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
HARBOR = Registry("harbor.corp", prefix="proxy")
HUB_NGINX, HARBOR_NGINX, ORIGIN = Policy([OFFLINE, HARBOR]).candidates("nginx:1.25")
ABSENT = LookUp(HUB_NGINX, Outcome.ABSENT, "404")
UNKNOWN = LookUp(HARBOR_NGINX, Outcome.UNKNOWN, "timed out after 10s", timed_out=True)
STRICT = Decision((), rule="rule 2 (docker.io)", origin_allowed=False)
EXCLUDED = Decision((), rule="rule 2 (docker.io)", excluded="*:latest", origin_allowed=False)
NO_HELPER = Attempt(HARBOR_NGINX, "no credentials for harbor.corp/proxy: exit status 1", 0.1)
GONE = Attempt(HUB_NGINX, "NOT_FOUND: gone", 0.1)
LAST = Attempt(HARBOR_NGINX, "whatever", 0.1)


def test_nothing_found_names_every_registry_with_its_reason_and_the_rule() -> None:
    error = refusal("nginx:1.25", STRICT, [ABSENT, UNKNOWN], [])
    assert error.message == (
        "image-cri-shim: nginx:1.25 not found on sealos.hub:5000 (404), "
        "harbor.corp/proxy (timed out after 10s); origin not allowed by rule 2 (docker.io)"
    )


@pytest.mark.parametrize(
    ("look_ups", "attempts", "code"),
    [
        ([], [], Code.NOT_FOUND),
        ([ABSENT], [], Code.NOT_FOUND),
        ([ABSENT, UNKNOWN], [], Code.UNAVAILABLE),
        ([UNKNOWN], [], Code.UNAVAILABLE),
        ([ABSENT], [NO_HELPER], Code.UNAVAILABLE),
    ],
)
def test_not_found_is_only_what_every_registry_said_it_lacks(
    look_ups: list[LookUp], attempts: list[Attempt], code: Code
) -> None:
    assert refusal("nginx:1.25", STRICT, look_ups, attempts).code is code


def test_a_registry_that_said_no_more_than_no_is_named_with_that() -> None:
    error = refusal("nginx:1.25", STRICT, [LookUp(HUB_NGINX, Outcome.ABSENT)], [])
    assert "not found on sealos.hub:5000 (absent); " in error.message


def test_a_long_reason_is_told_in_full_where_there_is_room() -> None:
    long = LookUp(HARBOR_NGINX, Outcome.UNKNOWN, "x" * 1500)
    assert f"({long.detail})" in refusal("nginx:1.25", STRICT, [ABSENT, long], []).message


def test_without_a_registry_to_ask_the_error_says_so() -> None:
    assert refusal("nginx:1.25", STRICT, [], []).message == (
        "image-cri-shim: nginx:1.25 has no registry to be pulled from; "
        "origin not allowed by rule 2 (docker.io)"
    )


def test_what_is_left_alone_and_may_not_come_from_the_origin_is_told_why() -> None:
    error = refusal("nginx:latest", EXCLUDED, [], [])
    assert error.code is Code.NOT_FOUND
    assert error.message == (
        "image-cri-shim: nginx:latest is left alone by *:latest of rule 2 (docker.io), "
        "which does not allow the origin"
    )


def test_what_could_not_be_tried_is_named_with_its_reason() -> None:
    assert refusal("nginx:1.25", STRICT, [ABSENT], [NO_HELPER]).message == (
        "image-cri-shim: nginx:1.25 could not be pulled: harbor.corp/proxy/library/nginx:1.25: "
        "no credentials for harbor.corp/proxy: exit status 1; not found on sealos.hub:5000 (404); "
        "origin not allowed by rule 2 (docker.io)"
    )


def test_what_a_registry_is_quoted_with_stays_on_its_line() -> None:
    quoting = LookUp(HUB_NGINX, Outcome.UNKNOWN, "token server h\n\x1b[2Jforged")
    for text in (refusal("a:1", STRICT, [quoting], []).message, remark(STRICT, [quoting])):
        assert text.isprintable()


def test_that_a_registry_lacks_what_was_pulled_from_the_origin_is_no_remark() -> None:
    assert remark(Decision((ORIGIN,)), [ABSENT]) == ""


def test_that_a_registry_could_not_say_is_told_when_the_origin_fails() -> None:
    assert remark(Decision((ORIGIN,)), [ABSENT, UNKNOWN]) == (
        "could not be looked up on harbor.corp/proxy (timed out after 10s)"
    )


def test_an_answer_with_nothing_to_add_is_left_as_it_is() -> None:
    given = answer(2, "Signature\x01Invalid: s3cret\n")
    assert with_account(given, [LAST], 0, "", Redactor(["s3cret"])) is given


@pytest.mark.parametrize(
    ("before", "why", "told"),
    [
        ([GONE], "", " tried before: sealos.hub:5000/library/nginx:1.25: NOT_FOUND: gone"),
        ([], "origin not allowed", ": origin not allowed"),
        (
            [GONE],
            "origin not allowed",
            " tried before: sealos.hub:5000/library/nginx:1.25: NOT_FOUND: gone; "
            "origin not allowed",
        ),
    ],
)
def test_what_there_is_to_tell_stands_behind_the_runtimes_message(
    before: list[Attempt], why: str, told: str
) -> None:
    given = answer(14, "RegistryUnavailable: x")
    added = with_account(given, [*before, LAST], len(before), why, Redactor())
    assert added.message == f"RegistryUnavailable: x (image-cri-shim{told})"
    assert added.code == Code.UNAVAILABLE


def test_the_runtimes_message_is_cleaned_when_something_is_added_to_it() -> None:
    given = answer(2, "denied: s3cret\r\nforged")
    added = with_account(given, [GONE, LAST], 1, "", Redactor(["s3cret"]))
    assert added.message.startswith("denied: ***  forged (image-cri-shim tried before: ")


def registries(count: int) -> list[Candidate]:
    """Return candidates for `nginx:1`, each from a registry of its own."""
    found = (Registry(f"registry-{number}.corp") for number in range(count))
    return [Policy([one]).candidates("nginx:1")[0] for one in found]


@pytest.mark.parametrize("count", [1, 2, 8, 24])
def test_a_long_error_fits_into_a_header_and_has_every_attempt_with_its_reason(count: int) -> None:
    attempts = [
        Attempt(one, f"UNKNOWN: {'ü' * 2000}: {one.reference.domain} says no", 0.1)
        for one in registries(count)
    ]
    strict = Decision((), rule=f"rule 2 ({'z' * 9000})", origin_allowed=False)
    why = remark(strict, [LookUp(HARBOR_NGINX, Outcome.UNKNOWN, "x" * 9000)])
    given = answer(2, "head" + "ö" * 5000 + "tail")
    added = with_account(given, [*attempts, LAST], count, why, Redactor())
    assert len(encode_message(added.message)) <= 6000
    assert added.message.startswith("head")
    assert "tail (image-cri-shim tried before: " in added.message
    for one in attempts:
        assert one.candidate.name in added.message
        assert f"{one.candidate.reference.domain} says no" in added.message
    assert "not found on harbor.corp/proxy (xxx" in added.message
    assert "; origin not allowed by rule 2 (zzz" in added.message


@pytest.mark.parametrize("count", [2, 50, 300])
def test_a_refusal_fits_into_a_header_whatever_the_registries_said(count: int) -> None:
    look_ups = [LookUp(one, Outcome.UNKNOWN, "ü" * 3000) for one in registries(count)]
    strict = Decision((), rule="*" * 9000, origin_allowed=False)
    error = refusal("nginx:1", strict, look_ups, [])
    assert len(encode_message(error.message)) <= 6000
    assert error.message.startswith("image-cri-shim: nginx:1 not found on registry-0.corp (ü")
    # 1,800 bytes, 60 of them for an entry at least.
    assert (f", and {count - 30} more; origin not" in error.message) == (count > 30)


@pytest.mark.parametrize("text", ["", "short", "x" * 40])
def test_a_text_that_fits_is_not_cut(text: str) -> None:
    assert shortened(text, 40) == text


@pytest.mark.parametrize("text", ["x" * 41, "ü" * 20, "a\U0001f600" * 9, "%" * 14])
def test_a_text_that_does_not_fit_is_cut_in_the_middle_by_what_it_takes_to_send(text: str) -> None:
    cut = shortened(text, 40)
    assert len(encode_message(cut)) <= 40
    assert cut[0] == text[0]
    assert cut[-1] == text[-1]
    assert "..." in cut
