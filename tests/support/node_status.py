"""The status of a node in short, as far as a diagnosis reads it."""

from __future__ import annotations

import copy
from typing import Any

from image_cri_shim.diagnosis import problems
from image_cri_shim.pull_record import moment

NOW = 1_800_000_000.0
X509 = (
    'UNKNOWN: failed to pull and unpack image "harbor.corp/lab/x:1": failed to resolve reference '
    '"harbor.corp/lab/x:1": failed to do request: Head "https://harbor.corp/v2/lab/x/manifests/1": '
    "x509: certificate signed by unknown authority"
)

Document = dict[str, Any]
CONFIGURATION: Document = {
    "current": True,
    "refusedSince": None,
    "why": "",
    "loadedAt": moment(NOW - 7200),
    "changedAt": moment(NOW - 7200),
}


def registry(name: str, **more: object) -> Document:
    return {
        "name": name,
        "configured": True,
        "breaker": "closed",
        "detail": "",
        "failingSince": None,
        "retryInSeconds": 0.0,
        "lastOutcome": "present",
        "lastDetail": "",
        "lastAskedAt": moment(NOW - 120),
        "insecure": True,
        **more,
    }


def healthy(**more: object) -> Document:
    """Return the status of a node that is well, as far as a diagnosis reads it."""
    document: Document = {
        "at": moment(NOW),
        "program": {"startedAt": moment(NOW - 3600), "uptimeSeconds": 3600.0},
        "sockets": [{"path": "/run/image-cri-shim.sock", "activated": False}],
        "socketTrouble": "",
        "clients": {"imageCalls": 12, "runtimeCalls": 40},
        "runtime": {
            "connected": True,
            "state": "connected to the runtime at /r.sock, CRI v1",
            "since": moment(NOW - 3600),
        },
        "configuration": CONFIGURATION,
        "registries": [registry("sealos.hub:5000"), registry("harbor.corp")],
        "pulls": {"failures": [], "recent": []},
        "failedCalls": [],
        "history": {"path": "/var/lib/image-cri-shim/history.sqlite3", "state": "ok"},
        "admin": {"addresses": ["/run/image-cri-shim/admin.sock"], "trouble": ""},
    }
    return copy.deepcopy({**document, **more})


def asked(name: str, outcome: str, detail: str = "") -> Document:
    return {"registry": name, "name": f"{name}/lab/x:1", "outcome": outcome, "detail": detail}


def tried(name: str, error: str = "") -> Document:
    return {"registry": name, "name": f"{name}/lab/x:1", "error": error}


def pull(number: int, image: str = "lab/x:1", **more: object) -> Document:
    values = {"error": "", "reason": "", "lookUps": [], "attempts": [], "seconds": 1.0}
    values |= {"registry": "docker.io"}
    return {"number": number, "image": image, "began": moment(NOW - 60 + number), **values, **more}


def nowhere(number: int, image: str = "lab/x:1") -> Document:
    return pull(
        number,
        image,
        error="NOT_FOUND: docker.io/lab/x:1: not found",
        lookUps=[asked("sealos.hub:5000", "absent", "404")],
        attempts=[tried("docker.io", "NOT_FOUND: docker.io/lab/x:1: not found")],
    )


def pulls(*records: Document) -> Document:
    """Return what a status says of pulls that have ended, the newest of which is given first."""
    failed = [one for one in records if one["error"]]
    return healthy(pulls={"failures": failed, "recent": list(records)})


def only(document: Document) -> dict[str, str | None]:
    (found,) = problems(document)
    return found
