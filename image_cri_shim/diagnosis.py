"""What is wrong with a node, and what to do about it: read from the status document alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from image_cri_shim import advice
from image_cri_shim.pull_record import seconds_since_1970
from image_cri_shim.pull_trouble import Surroundings, Trouble, failed_images, gist, passed_over

# A JSON object.
_Document: TypeAlias = Mapping[str, Any]
# What is wrong, as the status document has it: about, what, since, cure, severity.
Problem: TypeAlias = dict[str, str | None]

# No pod can be started; something is not as it should be; something to know.
FAILING, DEGRADED, NOTE = "failing", "degraded", "note"
_ORDER = (FAILING, DEGRADED, NOTE)

# Seconds: what is older has passed. A kubelet tries to make a pod again every minute or so.
_PULLS_COUNT = 3600.0
_CALLS_COUNT = 600.0
# Seconds until it means something that nobody has called: a kubelet does within a few.
SETTLED = 60.0
# Methods whose failure is the node's; others are a pod's, as a command that a probe runs.
_OF_THE_NODE = frozenset(
    {"Version", "Status", "RunPodSandbox", "ListImages", "ImageStatus", "ImageFsInfo"}
    | {"RemoveImage", "CreateContainer"}
)
# The runtime was away, and that is told already.
_AWAY = "image-cri-shim: "
_PAUSE = re.compile(r"sandbox image \"([^\"]+)\"|docker://(\S*pause[^\s:]*:[^\s:]+)")

_LOOK_AT_LOGS = (
    "Look into the logs of the runtime and of the kubelet (`journalctl -u containerd -u kubelet`)."
)
_CURES_OF_RUNTIME = (
    (
        "no container runtime's socket was found",
        "Start the runtime; if it runs, set `cri` to its socket.",
    ),
    (
        "the shim's own socket",
        "Set `cri` to the runtime's own socket; it is the kubelet that uses the shim's.",
    ),
    ("does not exist", "Start the runtime, or set `cri` to its socket."),
    ("nobody listens", "Start the runtime (`systemctl status containerd`)."),
    ("permission denied", "Let the daemon run as root, or as a user who may open this socket."),
    ("does not answer", "The runtime hangs: restart it (`systemctl restart containerd`)."),
    ("is of no use", "Set `cri` to the socket of a container runtime; this is something else's."),
)


def problems(document: _Document) -> list[Problem]:
    """Say what is wrong, the worst first.

    :param document: the status document; ``problems`` and ``state`` may be missing.
    :returns: for each problem ``about`` (``registry harbor.corp``), ``what``, ``since`` (as the
        document writes times, or None if it is not known), ``cure`` (what to do about it, or
        empty) and ``severity``: FAILING, DEGRADED or NOTE.
    """
    now = seconds_since_1970(document["at"])
    found = [
        *_runtime(document["runtime"]),
        *_sockets(document),
        *_configuration(document["configuration"]),
        *_registries(document["registries"], document["configuration"], now),
        *_pulls(document, now),
        *_calls(document["failedCalls"], now),
        *_clients(document),
        *_history(document["history"]),
        *_admin(document["admin"]),
    ]
    found.sort(key=lambda one: _ORDER.index(str(one["severity"])))
    return list(_without_repetition(found))


def state(found: Iterable[Mapping[str, str | None]]) -> str:
    """Say how a node is by its problems: ``ok``, ``degraded`` or ``failing``."""
    severities = {one["severity"] for one in found}
    return next((one for one in (FAILING, DEGRADED) if one in severities), "ok")


def _without_repetition(found: Iterable[Problem]) -> Iterator[Problem]:
    """Say each cure once: the images of a registry that fails have the registry's."""
    told: dict[str | None, str | None] = {}
    for one in found:
        first = told.setdefault(one["cure"], one["about"])
        repeated = one["cure"] and first != one["about"]
        yield {**one, "cure": f"The same as for {first}."} if repeated else one


def _problem(
    about: str, what: str, cure: str, since: str | None = None, severity: str = DEGRADED
) -> Problem:
    return {"about": about, "what": what, "since": since, "cure": cure, "severity": severity}


def _runtime(runtime: _Document) -> Iterator[Problem]:
    if runtime["connected"]:
        return
    what = str(runtime["state"]) or "not connected yet"
    cure = next((words for part, words in _CURES_OF_RUNTIME if part in what), "")
    yield _problem("runtime", what, cure, runtime["since"], FAILING)


def _sockets(document: _Document) -> Iterator[Problem]:
    trouble, sockets = document["socketTrouble"], document["sockets"]
    if trouble:
        cure = "Correct `shim`, or end the program that has this socket; then restart the daemon."
        yield _problem("socket", trouble, cure, severity=DEGRADED if sockets else FAILING)
    elif not sockets:
        cure = "Restart the daemon."
        yield _problem("socket", "no socket is served", cure, severity=FAILING)


def _configuration(configuration: _Document) -> Iterator[Problem]:
    if configuration["current"]:
        return
    what = f"it is refused, the one before runs: {configuration['why']}"
    cure = "Correct the file, which is then taken at once; `image-cri-shim check` shows all faults."
    if "template" in configuration["why"]:
        cure = "Render the template; `image-cri-shim check` shows all placeholders."
    yield _problem("configuration", what, cure, configuration["refusedSince"])


def _registries(
    registries: Iterable[_Document], configuration: _Document, now: float
) -> Iterator[Problem]:
    loaded = seconds_since_1970(configuration["changedAt"])
    for one in registries:
        if not _is_recent(one["lastAskedAt"], now, _PULLS_COUNT):
            continue
        if one["breaker"] != "closed":
            wait = math.ceil(one["retryInSeconds"])
            when = f"left alone, tried again in {wait} s" if wait else "failing, to be tried again"
            detail = one["detail"] or one["lastDetail"]
            what = f"{when}: {detail}"
        elif one["lastOutcome"] == "unknown" and seconds_since_1970(one["lastAskedAt"]) >= loaded:
            # What was said before may be mended by the configuration.
            detail = one["lastDetail"]
            what = f"could not say what it has: {detail}"
        else:
            continue
        cure = advice.cure(detail, configured=one["configured"])
        yield _problem(f"registry {one['name']}", what, cure, one["failingSince"])


def _pulls(document: _Document, now: float) -> Iterator[Problem]:
    pulls, node = document["pulls"], Surroundings.of(document)

    def recent(records: Iterable[_Document]) -> list[_Document]:
        return [one for one in records if _is_recent(one["began"], now, _PULLS_COUNT)]

    def told(found: Iterable[Trouble]) -> Iterator[Problem]:
        for one in found:
            severity = NOTE if one.passed else DEGRADED
            yield _problem(one.about, one.what, one.cure, one.since, severity)

    ended = recent(pulls["recent"])
    yield from told(failed_images(recent(pulls["failures"]), ended, node))
    yield from told(passed_over(ended, node.registries))


def _calls(failed: Iterable[_Document], now: float) -> Iterator[Problem]:
    """Tell of calls that the runtime failed, each kind of failure once."""
    groups: dict[tuple[str, str, str], list[_Document]] = {}
    for one in failed:
        counts = one["method"] in _OF_THE_NODE and not _is_away(one)
        if counts and _is_recent(one["at"], now, _CALLS_COUNT):
            key = one["method"], one["code"], gist(one["message"])
            groups.setdefault(key, []).append(one)
    for (method, code, said), calls in groups.items():
        message = calls[0]["message"]
        times = f"failed {len(calls)} times" if len(calls) > 1 else "failed"
        about, what = f"call {method}", f"{times}, {code}: {said}".removesuffix(": ")
        # The code tells that these are a runtime's words.
        cure = advice.of_node(f"{code}: {message}") or _LOOK_AT_LOGS
        pause = _PAUSE.search(message) if method == "RunPodSandbox" else None
        if pause is not None:
            about = f"pause image {pause[1] or pause[2]}"
            what = f"the runtime cannot pull it, so no pod starts ({method} {times}): {said}"
            cure = advice.cure(f"{code}: {message}")
        yield _problem(about, what, cure, calls[-1]["at"])


def _clients(document: _Document) -> Iterator[Problem]:
    """Tell whose calls do not come here."""
    if document["program"]["uptimeSeconds"] < SETTLED:
        return
    clients = document["clients"]
    images, rest = clients["imageCalls"], clients["runtimeCalls"]
    since = document["program"]["startedAt"]
    path = next((one["path"] for one in document["sockets"]), "the shim's socket")
    if not images and not rest:
        yield _problem(
            "kubelet",
            "no client has called since the start",
            f"Point the kubelet here: `containerRuntimeEndpoint: unix://{path}`, then restart it.",
            since,
        )
    elif not images:
        yield _problem(
            "kubelet",
            "pods' calls come here, and none about images: pulls go past the shim",
            f"Take `imageServiceEndpoint` out of the kubelet's configuration, or set it to "
            f"unix://{path}; in crictl.yaml it is `image-endpoint`.",
            since,
        )
    elif not rest:
        yield _problem(
            "kubelet",
            "calls about images come here, and none about pods",
            "Right where only `imageServiceEndpoint` (in crictl.yaml `image-endpoint`) is to point "
            "here. If the kubelet is to send all here, it does not yet: "
            f"`containerRuntimeEndpoint: unix://{path}`, then restart it.",
            since,
            NOTE,
        )


def _history(history: _Document) -> Iterator[Problem]:
    if history["state"] not in ("ok", "off"):
        cure = "Pulls go on; make the state directory (`image`) one that can be written."
        yield _problem("history", str(history["state"]), cure)


def _admin(admin: _Document) -> Iterator[Problem]:
    if admin["trouble"]:
        cure = "Pulls go on, and it is tried again by itself."
        # It says itself what to do.
        what, found, said = str(admin["trouble"]).partition("; free that port")
        if found and ";" not in said:
            cure = "Free that port, or set `adminListen` to another one. " + cure
        else:
            what = str(admin["trouble"])
        yield _problem("admin interface", what, cure, severity=NOTE)


def _is_away(failed: _Document) -> bool:
    return failed["code"] == "UNAVAILABLE" and str(failed["message"]).startswith(_AWAY)


def _is_recent(moment: str | None, now: float, seconds: float) -> bool:
    return moment is not None and now - seconds_since_1970(moment) <= seconds
