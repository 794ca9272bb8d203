"""How the page shows the node: the runtime, the registries, failed calls, the daemon itself."""

from __future__ import annotations

import math
from collections.abc import Iterable

from twisted.web.template import Tag, tags

from image_cri_shim.admin.parts import (
    Look,
    Part,
    badge,
    facts,
    mark,
    more,
    name,
    nothing,
    section,
    table,
    time,
)
from image_cri_shim.pull_record import Document
from image_cri_shim.wording import counted, duration, visible

_BREAKERS = {
    "closed": (Look.GOOD, "in use"),
    "half-open": (Look.WARN, "being tried again"),
    "open": (Look.BAD, "left alone"),
}
_OUTCOMES = ("present", "absent", "unknown")
_HISTORY = {"ok": "kept", "off": "none is kept"}


def runtime_section(status: Document) -> Tag:
    """Return the tiles: the runtime, the clients, the pulls, the configuration, the cache."""
    return section(
        "The node",
        tags.div(
            _runtime(status),
            _clients(status),
            _pulls(status),
            _registries(status),
            _configuration(status),
            class_="tiles",
        ),
        name="node",
    )


def _tile(title: str, look: Look, value: Part, *small: Part) -> Tag:
    return tags.div(
        tags.h3(mark(look, ""), title),
        tags.p(value, class_="value"),
        *(tags.p(one, class_="small") for one in small if one),
        class_=f"tile {look.style}",
    )


def _runtime(status: Document) -> Tag:
    runtime = status["runtime"]
    connected = bool(runtime["connected"])
    program = f"{runtime['name']} {runtime['version']}".strip()
    spoken = f"speaks CRI {visible(runtime['criVersion'])}" if runtime["criVersion"] else ""
    since = time(runtime["since"], str(status["at"]))
    return _tile(
        "Runtime",
        Look.GOOD if connected else Look.BAD,
        visible(program or ("connected" if connected else "not connected")),
        spoken if connected else visible(runtime["state"]),
        name(runtime["socket"]) if runtime["socket"] else "",
        ["connected " if connected else "lost ", since] if since else "",
    )


def _clients(status: Document) -> Tag:
    clients = status["clients"]
    last = time(clients["lastCallAt"], str(status["at"]))
    trouble = str(status["socketTrouble"])
    sockets = [name(one["path"]) for one in status["sockets"]]
    look = Look.BAD if trouble or not sockets else Look.GOOD
    if look is Look.GOOD and not clients["lastCallAt"]:
        look = Look.IDLE
    return _tile(
        "Clients",
        look,
        f"{clients['connected']:,} connected",
        ["last call ", last] if last else "no call since the start",
        f"{counted(clients['calls'], 'call')} now; {clients['imageCalls']:,} image and "
        f"{clients['runtimeCalls']:,} runtime since the start",
        visible(trouble),
        *sockets,
    )


def _pulls(status: Document) -> Tag:
    pulls, running = status["pulls"], len(status["pulls"]["inProgress"])
    failed = pulls["failed"]
    look = Look.WARN if failed else Look.GOOD if pulls["pulled"] else Look.IDLE
    return _tile(
        "Pulls",
        Look.BUSY if running and not failed else look,
        f"{running} in progress",
        f"{pulls['pulled']:,} pulled and {failed:,} failed since the start",
    )


def _registries(status: Document) -> Tag:
    registries = [one for one in status["registries"] if one["configured"]]
    used = sum(one["breaker"] == "closed" for one in registries)
    look = Look.GOOD if used == len(registries) else Look.WARN if used else Look.BAD
    cache = status["cache"]
    hits, misses = cache.get("hits", 0), cache.get("misses", 0)
    known = f"{100 * hits / (hits + misses):.0f} % of look-ups known" if hits + misses else ""
    held = f"{cache.get('held', 0):,} of {cache.get('size', 0):,} answers remembered"
    if not registries:
        return _tile("Registries", Look.IDLE, "none configured", held)
    return _tile("Registries", look, f"{used} of {len(registries)} in use", held, known)


def _configuration(status: Document) -> Tag:
    configuration = status["configuration"]
    current, at = bool(configuration["current"]), str(status["at"])
    warnings = len(configuration["warnings"])
    look = Look.BAD if not current else Look.WARN if warnings else Look.GOOD
    return _tile(
        "Configuration",
        look,
        "current" if current else "refused",
        ["loaded ", time(configuration["loadedAt"], at)],
        ["refused ", time(configuration["refusedSince"], at)] if not current else "",
        counted(warnings, "warning") if warnings else "",
        name(configuration["file"]),
    )


def registry_section(status: Document) -> Tag:
    """Return the registries: asked or not, what they answered last, and how fast."""
    registries, at = status["registries"], str(status["at"])
    if not registries:
        return section(
            "Registries",
            nothing("None is configured: every image is pulled from its origin."),
            name="registries",
        )
    heads = ("Registry", "State", "Last answer", "Latency", "Look-ups", "Priority")
    return section(
        "Registries",
        table(heads, (_registry(one, at) for one in registries)),
        name="registries",
    )


def _registry(registry: Document, at: str) -> list[Part]:
    badges = [
        badge(text, look)
        for said, text, look in (
            (registry["offline"], "offline registry", Look.IDLE),
            (not registry["configured"], "not configured", Look.IDLE),
            (registry["credentials"], "credentials", Look.IDLE),
            (registry["insecure"], "insecure", Look.WARN),
        )
        if said
    ]
    look, word = _BREAKERS.get(registry["breaker"], (Look.WARN, visible(registry["breaker"])))
    failures = registry["failures"]
    if look is Look.GOOD and failures:
        look = Look.WARN
    if look is Look.GOOD and not registry["lastAskedAt"]:
        look, word = Look.IDLE, "not asked yet"
    state: list[Part] = [mark(look, ""), word]
    if registry["breaker"] == "open":
        state.append(f", tried again in {math.ceil(registry['retryInSeconds'])}\u00a0s")
    if failures:
        state.append(tags.p(f"{counted(failures, 'failure')} in a row", class_="small"))
    if registry["detail"]:
        state.append(tags.p(visible(registry["detail"]), class_="small error"))
    last: list[Part] = ["none"]
    if registry["lastAskedAt"]:
        last = [visible(registry["lastOutcome"]), ", ", time(registry["lastAskedAt"], at)]
        if registry["lastDetail"] and registry["lastDetail"] != registry["detail"]:
            last.append(tags.p(visible(registry["lastDetail"]), class_="small"))
    counts = registry["lookUps"]
    return [
        [name(registry["name"]), tags.p(*badges, class_="badges") if badges else ""],
        state,
        last,
        duration(registry["latencySeconds"]) or "none",
        ", ".join(f"{counts[one]:,} {one}" for one in _OUTCOMES),
        str(registry["priority"]) if registry["configured"] else "none",
    ]


def call_section(status: Document) -> Tag | str:
    """Return the calls that failed, other than pulls."""
    calls, at = status["failedCalls"], str(status["at"])
    if not calls:
        return ""
    rows = (
        (
            visible(one["method"]),
            tags.span(mark(Look.BAD, ""), visible(one["code"]), class_="whole"),
            visible(one["message"]),
            time(one["at"], at),
        )
        for one in calls
    )
    return section(
        "Failed calls",
        table(("Call", "Status", "What was answered", "When"), rows),
        name="calls",
        note=f"the last {len(calls)}",
    )


def program_sections(status: Document) -> list[Tag]:
    """Return the configuration, and how the daemon itself does."""
    return [
        section("Configuration", *_settings(status), name="configuration"),
        section("The daemon", facts(_program(status)), name="daemon"),
    ]


def _settings(status: Document) -> Iterable[Tag]:
    configuration, at = status["configuration"], str(status["at"])
    if not configuration["current"]:
        yield tags.article(
            tags.p(
                mark(Look.BAD, ""),
                "What the files say is refused since ",
                time(configuration["refusedSince"], at),
                "; what ran before runs on.",
            ),
            tags.p(visible(configuration["why"]), class_="error"),
            class_="bad",
        )
    if configuration["warnings"]:
        yield tags.ul(
            *(
                tags.li(mark(Look.WARN, "warning"), visible(one))
                for one in configuration["warnings"]
            ),
            class_="steps",
        )
    files = [tags.div(name(one)) for one in configuration["files"]]
    yield facts(
        (
            ("read from", files or "no file: everything is as by default"),
            ("loaded", time(configuration["loadedAt"], at)),
        )
    )
    pairs = [(visible(key), name(value)) for key, value in configuration["settings"]]
    if pairs:
        yield more(f"What is in effect ({counted(len(pairs), 'setting')})", facts(pairs))


def _program(status: Document) -> Iterable[tuple[str, Part]]:
    history, logging = status["history"], status["logging"]
    state = str(history["state"])
    yield "started", time(status["program"]["startedAt"], str(status["at"]))
    for one in status["sockets"]:
        yield "serves", [name(one["path"]), " ", badge("by systemd") if one["activated"] else ""]
    versions = status["clients"]["versions"]
    yield "calls", ", ".join(f"{count:,} in CRI {visible(one)}" for one, count in versions.items())
    cache = status["cache"]
    if cache:
        words = ("hits", "misses", "expired", "evicted", "forgotten")
        yield "cache", ", ".join(f"{cache[one]:,} {one}" for one in words if one in cache)
    yield "history", [visible(_HISTORY.get(state, state)), " ", name(history["path"])]
    admin = status.get("admin", {})
    where = [tags.div(name(one)) for one in admin.get("addresses", ())]
    yield "this interface", [*where, visible(admin.get("trouble", ""))] if admin else ""
    yield "names", f"originalNames: {visible(status['originalNames'])}"
    levels = ", ".join(f"{one} {level}" for one, level in logging["levels"].items())
    yield "log", visible(f"{logging['format']}; {levels}")
