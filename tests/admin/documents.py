"""Status documents as a daemon would tell them, and names as nobody should choose them."""

from __future__ import annotations

from typing import Any

AT = "2026-07-01T12:03:04.500Z"
BEFORE = "2026-07-01T11:58:00.000Z"

# Each would do something if it were not escaped, shown as it is, or allowed to break.
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=http://attacker.test/x.png onerror=document.title=1>',
    "'><svg/onload=document.title='owned'>",
    "</style><style>@import url(http://attacker.test/x.css);</style>",
    "</code></li></ul><h1>Everything works</h1><!--",
    "registry.test/" + "a" * 500,
    "w" * 600,
    "\u202egnp.x/moc.rekcatta\u2066",
    "zalgo" + "\u0300\u0301\u0302\u0303" * 60,
    "null\x00byte\x1b[31mred\r\nSet-Cookie: a=b",
    "\ud800lone",
    "{{7*7}}${7*7}&lt;b&gt;&amp;",
    "javascript:document.title='owned'",
)


def record(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a pull that ended well from the offline registry."""
    name = "sealos.hub:5000/library/nginx:1.25"
    return {
        "number": number,
        "call": f"4f1c-{number}",
        "image": "nginx:1.25",
        "client": {"pid": 812, "uid": 0, "gid": 0, "name": "kubelet"},
        "trace": "",
        "began": BEFORE,
        "phase": "pulled",
        "name": name,
        "registry": "sealos.hub:5000",
        "kind": "offline",
        "reason": "offline, present, 12 ms",
        "rule": "",
        "lookUps": [
            {
                "registry": "sealos.hub:5000",
                "name": name,
                "outcome": "present",
                "detail": "",
                "cached": False,
                "seconds": 0.012,
            }
        ],
        "attempts": [{"name": name, "registry": "sealos.hub:5000", "error": "", "seconds": 2.25}],
        "digest": "sha256:" + "5f" * 32,
        "imageRef": "sha256:" + "a7" * 32,
        "error": "",
        "seconds": 2.262,
        **fields,
    }


def failed(number: int = 2, **given: Any) -> dict[str, Any]:
    """Return a pull that found its image nowhere."""
    harbor = "harbor.corp/dockerhub-proxy/library/redis:7"
    error = "UNAVAILABLE: dial tcp: lookup registry-1.docker.io: no such host"
    fields: dict[str, Any] = dict(  # noqa: C408 - as a call of record()
        image="redis:7",
        phase="failed",
        name="docker.io/library/redis:7",
        registry="docker.io",
        kind="origin",
        reason="origin, sealos.hub:5000 has it not, harbor.corp is not asked (open breaker)",
        lookUps=[
            {
                "registry": "sealos.hub:5000",
                "name": "sealos.hub:5000/library/redis:7",
                "outcome": "absent",
                "detail": "404",
                "cached": True,
                "seconds": 0.0,
            },
            {
                "registry": "harbor.corp",
                "name": harbor,
                "outcome": "unknown",
                "detail": "timed out after 10s",
                "cached": False,
                "seconds": 10.0,
            },
        ],
        attempts=[
            {
                "name": harbor,
                "registry": "harbor.corp",
                "error": "DEADLINE_EXCEEDED: context deadline exceeded",
                "seconds": 30.1,
            },
            {
                "name": "docker.io/library/redis:7",
                "registry": "docker.io",
                "error": error,
                "seconds": 0.4,
            },
        ],
        digest="",
        imageRef="",
        error="image-cri-shim: redis:7 not found on sealos.hub:5000 (404), harbor.corp "
        f"(timed out after 10s); docker.io: {error}",
        seconds=40.6,
    )
    return record(number, **{**fields, **given})


def registry(name: str = "sealos.hub:5000", **fields: Any) -> dict[str, Any]:
    """Return a registry that answers."""
    return {
        "name": name,
        "url": f"http://{name}",
        "configured": True,
        "offline": False,
        "priority": 500,
        "credentials": False,
        "insecure": False,
        "breaker": "closed",
        "failures": 0,
        "detail": "",
        "failingSince": None,
        "retryInSeconds": 0.0,
        "lastOutcome": "present",
        "lastDetail": "",
        "lastAskedAt": BEFORE,
        "latencySeconds": 0.012,
        "lookUps": {"present": 1204, "absent": 17, "unknown": 0},
        **fields,
    }


def good_status(**fields: Any) -> dict[str, Any]:
    """Return the status of a node on which all is well."""
    return {
        "schema": 1,
        "at": AT,
        "program": {
            "version": "0.7.0",
            "pid": 4711,
            "startedAt": "2026-06-28T08:00:00.000Z",
            "uptimeSeconds": 273784.5,
        },
        "state": "ok",
        "problems": [],
        "sockets": [{"path": "/run/image-cri-shim.sock", "activated": True}],
        "socketTrouble": "",
        "clients": {
            "connected": 2,
            "calls": 1,
            "imageCalls": 20817,
            "runtimeCalls": 913408,
            "lastCallAt": "2026-07-01T12:03:03.000Z",
            "versions": {"v1": 934225, "v1alpha2": 0},
        },
        "runtime": {
            "socket": "/run/containerd/containerd.sock",
            "connected": True,
            "state": "the runtime at /run/containerd/containerd.sock speaks CRI v1",
            "name": "containerd",
            "version": "v1.7.23",
            "criVersion": "v1",
            "since": "2026-06-28T08:00:00.100Z",
        },
        "configuration": {
            "file": "/etc/image-cri-shim.yaml",
            "dropIns": "/etc/image-cri-shim.d",
            "files": ["/etc/image-cri-shim.yaml", "/etc/image-cri-shim.d/10-harbor.yaml"],
            "loadedAt": "2026-06-30T09:00:00.000Z",
            "changedAt": "2026-06-30T09:00:00.000Z",
            "current": True,
            "refusedSince": None,
            "why": "",
            "warnings": [],
            "settings": [
                ["shim-socket", "/run/image-cri-shim.sock"],
                ["cri-socket", "/run/containerd/containerd.sock"],
                ["hub-address", "http://sealos.hub:5000"],
                ["Timeout", "15m0s"],
                ["Password", "set"],
            ],
        },
        "registries": [
            registry(offline=True, priority=1000, credentials=True, insecure=True),
            registry("harbor.corp", url="https://harbor.corp", latencySeconds=0.0034),
        ],
        "cache": {
            "held": 87,
            "size": 1024,
            "hits": 1802,
            "misses": 610,
            "expired": 412,
            "evicted": 0,
            "forgotten": 3,
        },
        "pulls": {
            "inProgress": [],
            "failures": [],
            "recent": [
                record(4, image="quay.io/prometheus/node-exporter:v1.8.1"),
                record(3),
            ],
            "pulled": 1287,
            "failed": 0,
        },
        "failedCalls": [],
        "history": {"path": "/var/lib/image-cri-shim/history.sqlite", "state": "ok"},
        "logging": {
            "format": "journal",
            "levels": dict.fromkeys(
                ("daemon", "cri", "pull", "runtime", "registry", "config", "admin"), "info"
            ),
        },
        "admin": {"addresses": ["/run/image-cri-shim/admin.sock"], "trouble": ""},
        "originalNames": "keep",
        **fields,
    }


def bad_status(**fields: Any) -> dict[str, Any]:
    """Return the status of a node that has all kinds of trouble."""
    good = good_status()
    running = {"digest": "", "imageRef": "", "attempts": []}
    return {
        **good,
        "state": "failing",
        "problems": [
            {
                "about": "registry harbor.corp",
                "what": "It does not answer: timed out after 10s. Pulls go on without it.",
                "since": BEFORE,
                "cure": "Look whether harbor.corp:443 can be reached from this node "
                "(image-cri-shim check --online).",
                "severity": "degraded",
            },
            {
                "about": "configuration",
                "what": "/etc/image-cri-shim.yaml:7:3: registries[0].adress: unknown key, did you "
                "mean `address`?",
                "since": BEFORE,
                "cure": "Correct the file; what ran before runs on.",
                "severity": "failing",
            },
        ],
        "configuration": {
            **good["configuration"],
            "current": False,
            "refusedSince": BEFORE,
            "why": "/etc/image-cri-shim.yaml:7:3: registries[0].adress: unknown key, did you mean "
            "`address`?",
            "warnings": ["the password of sealos.hub:5000 goes there in clear text (http)"],
        },
        "registries": [
            good["registries"][0],
            registry(
                "harbor.corp",
                url="https://harbor.corp",
                breaker="open",
                failures=5,
                detail="timed out after 10s",
                retryInSeconds=12.4,
                lastOutcome="unknown",
                lastDetail="timed out after 10s",
                latencySeconds=10.0,
                lookUps={"present": 12, "absent": 3, "unknown": 5},
            ),
            registry("quay.io", configured=False, url="https://quay.io", lastOutcome="absent"),
        ],
        "pulls": {
            "inProgress": [
                record(
                    9,
                    image="registry.k8s.io/ingress-nginx/controller:v1.11.1@sha256:" + "e6" * 32,
                    phase="pulling",
                    seconds=75.2,
                    name="sealos.hub:5000/ingress-nginx/controller@sha256:" + "e6" * 32,
                    **running,
                ),
                record(
                    10,
                    image="busybox",
                    phase="looking up",
                    seconds=0.4,
                    **running,
                    name="",
                    registry="",
                    kind="",
                    reason="",
                    lookUps=[],
                ),
            ],
            "failures": [failed(8), failed(7)],
            "recent": [failed(8), failed(7), record(6), record(5, client=None)],
            "pulled": 1287,
            "failed": 2,
        },
        "failedCalls": [
            {
                "at": BEFORE,
                "method": "RunPodSandbox",
                "code": "UNKNOWN",
                "message": 'failed to get sandbox image "registry.k8s.io/pause:3.9": failed to '
                "pull image: dial tcp: lookup registry.k8s.io: no such host",
            },
            {
                "at": BEFORE,
                "method": "CreateContainer",
                "code": "UNAVAILABLE",
                "message": "image-cri-shim: nobody listens on the runtime's socket",
            },
        ],
        **fields,
    }


def hostile_status() -> dict[str, Any]:
    """Return a status in which everything that others choose is hostile."""
    status = bad_status()
    pulls = []
    for number, text in enumerate(HOSTILE, 1):
        one = failed(
            number,
            image=text,
            name=text,
            registry=text,
            reason=text,
            rule=text,
            error=text,
            client={"pid": 1, "uid": 0, "gid": 0, "name": text[:15]},
        )
        for step in (*one["lookUps"], *one["attempts"]):
            step["name"] = step["registry"] = text
        pulls.append(one)
    status["pulls"] = {
        "inProgress": [{**pulls[0], "phase": "pulling"}],
        "failures": pulls,
        "recent": [
            {**one, "number": one["number"] + 100, "phase": "pulled", "error": ""} for one in pulls
        ],
        "pulled": 13,
        "failed": 13,
    }
    status["failedCalls"] = [
        {"at": BEFORE, "method": text[:60], "code": "UNKNOWN", "message": text} for text in HOSTILE
    ]
    status["problems"] = [
        {"about": text, "what": text, "since": None, "cure": text, "severity": "failing"}
        for text in HOSTILE
    ]
    status["registries"] = [registry(text, detail=text, lastDetail=text) for text in HOSTILE]
    status["runtime"] = {**status["runtime"], "name": HOSTILE[0], "version": HOSTILE[5]}
    return status
