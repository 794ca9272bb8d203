"""What the admin interface answers: full examples, as the daemon writes them."""

from __future__ import annotations

from typing import Any

from image_cri_shim.call_identity import Client
from image_cri_shim.pull_record import Asked, Phase, PullRecord, Tried, as_document, moment

# 2026-07-01 12:00:00 UTC.
NOW = 1782907200.0
HUB, HARBOR = "sealos.hub:5000", "harbor.corp"
DIGEST = f"sha256:{'5f' * 32}"
KUBELET = Client(812, 0, 0, "kubelet")

# What the other addresses answer.
ANSWERS: dict[str, dict[str, Any]] = {
    "reload": {
        "ok": True,
        "outcome": "the new configuration runs",
        "problems": [],
        "changes": ["Timeout: 15m0s -> 20m0s"],
        "loadedAt": "2026-01-31T03:04:05.678Z",
    },
    "flush": {"answers": 12, "breakers": 1},
    "log-level": {
        "levels": dict.fromkeys(
            ("daemon", "cri", "pull", "runtime", "registry", "config", "admin"), "info"
        )
    },
}


def pull_record(number: int = 1, **fields: Any) -> PullRecord:
    """Return a pull that ended well, with the offline registry's image."""
    name = f"{HUB}/library/nginx:1.25"
    known: dict[str, Any] = {
        "number": number,
        "call": f"4f1c-{number}",
        "image": "nginx:1.25",
        "began": NOW - 60,
        "client": KUBELET,
        "phase": Phase.PULLED,
        "name": name,
        "registry": HUB,
        "kind": "offline",
        "reason": "offline, present, 12 ms",
        "look_ups": (Asked(HUB, name, "present", seconds=0.012),),
        "attempts": (Tried(name, HUB, "", 1.388),),
        "digest": DIGEST,
        "image_ref": f"sha256:{'a7' * 32}",
        "seconds": 1.4,
    }
    return PullRecord(**(known | fields))


def failed_record(number: int = 2, **fields: Any) -> PullRecord:
    """Return a pull that failed everywhere."""
    first, origin = f"{HARBOR}/proxy/library/redis:7", "redis:7"
    refused = "UNKNOWN: dial tcp 10.0.0.9:443: connect: connection refused"
    missing = "NOT_FOUND: docker.io/library/redis:7: not found"
    known: dict[str, Any] = {
        "image": "redis:7",
        "phase": Phase.FAILED,
        "name": origin,
        "registry": "docker.io",
        "kind": "origin",
        "reason": f"registry, tried although unknown, {HARBOR}: unknown (connection refused), "
        f"{HUB}: absent (404), 103 ms",
        "look_ups": (
            Asked(HUB, f"{HUB}/library/redis:7", "absent", "404", seconds=0.004),
            Asked(HARBOR, first, "unknown", "connection refused", seconds=0.102),
        ),
        "attempts": (Tried(first, HARBOR, refused, 0.5), Tried(origin, "docker.io", missing, 2.5)),
        "digest": "",
        "image_ref": "",
        "error": f"{missing} (image-cri-shim tried before: {first}: {refused})",
        "seconds": 3.2,
    }
    return pull_record(number, **(known | fields))


def running_record(number: int = 3, **fields: Any) -> PullRecord:
    """Return a pull that runs."""
    known = {"phase": Phase.PULLING, "attempts": (), "image_ref": "", "seconds": None}
    return pull_record(number, began=NOW - 4, **(known | fields))


def registry(name: str = HUB, **fields: Any) -> dict[str, Any]:
    """Return a registry that answers, as the status document has it."""
    return {
        "name": name,
        "url": f"http://{name}",
        "configured": True,
        "offline": name == HUB,
        "priority": 1000,
        "credentials": True,
        "insecure": True,
        "breaker": "closed",
        "failures": 0,
        "detail": "",
        "failingSince": None,
        "retryInSeconds": 0.0,
        "lastOutcome": "present",
        "lastDetail": "",
        "lastAskedAt": moment(NOW - 60),
        "latencySeconds": 0.012,
        "lookUps": {"present": 1200, "absent": 4, "unknown": 0},
        **fields,
    }


def status_document(**fields: Any) -> dict[str, Any]:
    """Return the status of a daemon of which one registry is down; `fields` replace parts."""
    down = registry(
        f"{HARBOR}/proxy",
        url=f"https://{HARBOR}",
        priority=500,
        insecure=False,
        breaker="open",
        failures=1,
        detail="timed out after 10s",
        failingSince=moment(NOW - 360),
        retryInSeconds=23.4,
        lastOutcome="unknown",
        lastDetail="timed out after 10s",
        lastAskedAt=moment(NOW - 16),
        latencySeconds=10.001,
        lookUps={"present": 0, "absent": 2, "unknown": 7},
    )
    failure = as_document(failed_record(), NOW)
    return {
        "schema": 1,
        "at": moment(NOW),
        "state": "degraded",
        "problems": [
            {
                "about": f"registry {HARBOR}/proxy",
                "what": "left alone, tried again in 24 s: timed out after 10s",
                "since": moment(NOW - 360),
                "cure": "It does not answer: is it up, and does a firewall drop what is sent to it?",
                "severity": "degraded",
            }
        ],
        "program": {
            "version": "1.2.3",
            "pid": 700,
            "startedAt": moment(NOW - 273_600),
            "uptimeSeconds": 273_600.0,
        },
        "sockets": [{"path": "/run/image-cri-shim.sock", "activated": True}],
        "socketTrouble": "",
        "clients": {
            "connected": 2,
            "calls": 1,
            "imageCalls": 1204,
            "runtimeCalls": 33,
            "lastCallAt": moment(NOW - 3),
            "versions": {"v1": 1230, "v1alpha2": 7},
        },
        "runtime": {
            "socket": "/run/containerd/containerd.sock",
            "connected": True,
            "state": "connected to the runtime at /run/containerd/containerd.sock",
            "name": "containerd",
            "version": "1.7.2",
            "criVersion": "v1",
            "since": moment(NOW - 273_599),
        },
        "configuration": {
            "file": "/etc/image-cri-shim.yaml",
            "dropIns": "/etc/image-cri-shim.d",
            "files": ["/etc/image-cri-shim.yaml"],
            "loadedAt": moment(NOW - 3600),
            "changedAt": moment(NOW - 3600),
            "current": True,
            "refusedSince": None,
            "why": "",
            "warnings": ["auth: sent in clear text to http://sealos.hub:5000"],
            "settings": [["Timeout", "15m0s"]],
        },
        "registries": [registry(), down],
        "cache": {
            "held": 12,
            "size": 1024,
            "hits": 120,
            "misses": 30,
            "expired": 2,
            "evicted": 0,
            "forgotten": 1,
        },
        "pulls": {
            "inProgress": [as_document(running_record(), NOW)],
            "failures": [failure],
            "recent": [failure, as_document(pull_record(), NOW)],
            "pulled": 1204,
            "failed": 1,
        },
        "failedCalls": [
            {
                "at": moment(NOW - 30),
                "method": "RunPodSandbox",
                "code": "UNKNOWN",
                "message": 'failed to get sandbox image "registry.k8s.io/pause:3.9"',
            }
        ],
        "history": {"path": "/var/lib/image-cri-shim/history.sqlite3", "state": "ok"},
        "admin": {"addresses": ["/run/image-cri-shim/admin.sock"], "trouble": ""},
        "logging": {
            "format": "journal",
            "levels": {**ANSWERS["log-level"]["levels"], "registry": "debug"},
        },
        "originalNames": "keep",
        **fields,
    }
