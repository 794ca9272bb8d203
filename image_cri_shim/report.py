"""The status document: all that an operator wants to know of a daemon, from its parts."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from image_cri_shim import __version__, diagnosis, logs
from image_cri_shim.config import describe, warnings
from image_cri_shim.daemon import Daemon
from image_cri_shim.decision import Registry
from image_cri_shim.fingerprint import Files
from image_cri_shim.measurements import Measurements
from image_cri_shim.pull_record import Document, Phase, PullRecord, as_document, moment
from image_cri_shim.pull_trouble import TOLD_EACH
from image_cri_shim.registry.health import Health
from image_cri_shim.reload import ReloadService
from image_cri_shim.status_codes import code_name

# Of what happened, so much is told.
_LAST = 20
_FAILURES = 50


class Report:
    """Writes the status document.

    :param files: what the configuration is read from.
    :param admin: says where the admin interface is (``addresses``), and what is wrong with it.
    :param now: returns the seconds since 1970.
    """

    def __init__(
        self,
        daemon: Daemon,
        reload: ReloadService,
        measurements: Measurements,
        files: Files,
        *,
        admin: Callable[[], Document],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._daemon = daemon
        self._reload = reload
        self._measurements = measurements
        self._files = files
        self._admin = admin
        self._now = now
        self._started = now()
        self._since = time.monotonic()

    def document(self) -> Document:
        """Return the whole document; its schema is ``docs/status.schema.json``."""
        daemon, now = self._daemon, self._now()
        document: Document = {
            "schema": 1,
            "at": moment(now),
            "program": {
                "version": __version__,
                "pid": os.getpid(),
                "startedAt": moment(self._started),
                "uptimeSeconds": round(time.monotonic() - self._since, 3),
            },
            "sockets": [
                {"path": path, "activated": path in daemon.listeners.passed}
                for path in daemon.listeners.paths
            ],
            "socketTrouble": daemon.listeners.trouble,
            "clients": self._clients(),
            "runtime": self._runtime(),
            "configuration": self._configuration(),
            "registries": [self._registry(one) for one in daemon.config.all_registries],
            "cache": self._cache(),
            "pulls": self._pulls(now),
            "failedCalls": [
                {
                    "at": moment(one.at),
                    "method": one.method,
                    "code": code_name(one.code),
                    "message": one.message,
                }
                for one in reversed(self._measurements.calls.failed)
            ],
            "history": {"path": daemon.history.path, "state": daemon.history.state},
            "admin": self._admin(),
            "logging": {"format": logs.format_in_use(), "levels": logs.levels()},
            "originalNames": daemon.config.original_names,
        }
        problems = diagnosis.problems(document)
        return {"state": diagnosis.state(problems), "problems": problems, **document}

    def _clients(self) -> Document:
        server, calls = self._daemon.server, self._measurements.calls
        versions: dict[str, int] = {"v1": 0, "v1alpha2": 0}
        for (version, _, _), count in calls.ended.items():
            if version in versions:
                versions[version] += count
        return {
            "connected": 0 if server is None else server.clients,
            "calls": 0 if server is None else server.calls,
            # The operator's own tries say nothing of the kubelet's.
            "imageCalls": calls.services["ImageService"] - calls.own["ImageService"],
            "runtimeCalls": calls.services["RuntimeService"] - calls.own["RuntimeService"],
            "lastCallAt": _moment(calls.last),
            "versions": versions,
        }

    def _runtime(self) -> Document:
        upstream = self._daemon.upstream
        if upstream is None:
            return {
                **dict.fromkeys(("socket", "state", "name", "version", "criVersion"), ""),
                "connected": False,
                "since": None,
            }
        name, version = upstream.program
        return {
            "socket": upstream.path or self._daemon.config.cri or "",
            "connected": self._daemon.runtime_answers,
            "state": self._daemon.runtime_state,
            "name": name,
            "version": version,
            "criVersion": upstream.version,
            "since": _moment(self._daemon.runtime_since),
        }

    def _configuration(self) -> Document:
        config, refusal = self._daemon.config, self._reload.refusal
        file, drop_ins, *read = (*self._files.paths(), "", "")
        return {
            "file": file,
            "dropIns": drop_ins,
            "files": list(filter(None, read)),
            "loadedAt": moment(self._reload.loaded_at),
            "changedAt": moment(self._daemon.changed_at),
            "current": refusal is None,
            "refusedSince": None if refusal is None else moment(refusal.since),
            "why": "" if refusal is None else refusal.why,
            "warnings": list(warnings(config)),
            "settings": [list(pair) for pair in describe(config)],
        }

    def _registry(self, registry: Registry) -> Document:
        resolution = self._daemon.resolution
        health = None if resolution is None else resolution.health
        asked = self._measurements.registries.get(registry.name)
        counts = asked.outcomes if asked is not None else {}
        last = None if asked is None else asked.last
        return {
            "name": registry.name,
            "url": registry.url,
            "configured": True,
            "offline": registry.offline,
            "priority": registry.priority,
            "credentials": registry.has_credentials,
            "insecure": registry.plain_http or registry.insecure_skip_verify,
            **_breaker(health, registry.name, self._now()),
            "lastOutcome": "" if last is None else last.outcome.value,
            "lastDetail": "" if last is None else last.detail,
            "lastAskedAt": None if asked is None else _moment(asked.at),
            "latencySeconds": None if last is None else round(last.elapsed, 6),
            "lookUps": {
                outcome: counts.get(outcome, 0) for outcome in ("present", "absent", "unknown")
            },
        }

    def _cache(self) -> Document:
        resolution = self._daemon.resolution
        if resolution is None:
            return {}
        cache = resolution.cache
        return {"held": len(cache), "size": cache.size, **attrs.asdict(cache.statistics)}

    def _pulls(self, now: float) -> Document:
        book = self._daemon.pulls
        over = [one for one in reversed(book.recent) if one.over]

        def written(records: Iterable[PullRecord]) -> list[Document]:
            return [as_document(one, now) for one in records]

        return {
            "inProgress": written(book.running),
            "failures": written(unmended(over)[:_FAILURES]),
            "recent": written(over[:_LAST]),
            "pulled": book.pulled,
            "failed": book.failed,
        }


def unmended(over: Iterable[PullRecord]) -> list[PullRecord]:
    """Return the pulls that failed of images that have not been pulled since, a few of each.

    :param over: the pulls that have ended, newest first; so is what is returned.
    """
    pulled: set[str] = set()
    told: Counter[str] = Counter()
    found = []
    for one in over:
        if one.phase is Phase.PULLED:
            pulled.add(one.image)
        elif one.image not in pulled and told[one.image] < TOLD_EACH:
            told[one.image] += 1
            found.append(one)
    return found


def _breaker(health: Health | None, name: str, now: float) -> Document:
    condition: Any = None if health is None else health.condition(name.lower())
    return {
        "breaker": "closed" if condition is None else condition.state.value,
        "failures": 0 if condition is None else condition.failures,
        "detail": "" if condition is None else condition.detail,
        # In whole seconds: it is the same moment each time, and two clocks are read.
        "failingSince": moment(round(now - condition.lasting))
        if condition is not None and condition.failures
        else None,
        "retryInSeconds": 0.0 if condition is None else round(condition.wait, 3),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)
