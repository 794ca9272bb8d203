"""What recent pulls tell of trouble: images that cannot be pulled, and registries passed over."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from image_cri_shim import advice
from image_cri_shim.decision import GIVEN_UP
from image_cri_shim.pull_record import seconds_since_1970

# A record of a pull as JSON has it (pull_record.as_document).
Record: TypeAlias = Mapping[str, Any]

# What is told of a runtime's error: few are longer without what is said anyway.
_TOLD = 240
# Failed pulls of one image that the status tells: a kubelet makes others all day long.
TOLD_EACH = 5
# Images that are named one by one.
_NAMED = 3
# What a runtime puts in front of the reason; the last pattern is a name in front of "not found".
_AROUND = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?!TLS)[A-Z_]{2,}: ",
        r"rpc error: code = \w+ desc = ",
        r"^Error response from daemon: ",
        r"failed to (?:pull and unpack|pull|get sandbox) image \"[^\"]*\": ",
        r"failed to resolve (?:reference|image) \"[^\"]*\": ",
        r"failed to do request: (?:Head|Get) \"?[^\" ]*\"?: ",
        r"pulling from host \S+ failed with status code (?:\[[^\]]*\]: )?",
        r"^\S+: (?=not found$)",
        r" \(possibly because of .*$",
    )
)
_STRICT = re.compile(r"((?:is )?left alone by .+|origin not allowed by .+)$")
_ABSENT = re.compile(r"(?i)^(?:not found|.*manifest unknown|.*repository does not exist)")
# In front of what the shim says where the runtime was not there to be asked.
_NO_RUNTIME = "UNAVAILABLE: image-cri-shim: "
_ABOUT_MISSING = (
    "Push the image to one of these registries, or correct its name; "
    "`image-cri-shim resolve IMAGE` shows where it is looked for."
)
_ABOUT_ORIGIN = "Push the image to one of these registries, or let the node reach its origin."
_NO_REGISTRIES = "Let the node reach its origin, or configure a registry that has the image."


@attrs.frozen
class Failure:
    """Why an image could not be pulled.

    :ivar what: the reasons, without the image's name.
    :ivar passed: whether the node has changed since, so that nobody knows whether it would fail.
    """

    what: str
    cure: str
    passed: bool = False


@attrs.frozen
class Trouble:
    """One finding.

    :ivar about: ``image nginx:1.25`` or ``registry harbor.corp``.
    :ivar since: when it was seen first, as the records write it.
    :ivar passed: whether the node has changed since.
    """

    about: str
    what: str
    cure: str
    since: str
    passed: bool = False


@attrs.frozen
class Surroundings:
    """What the node is like now.

    :ivar registries: the names of those that are configured.
    :ivar answered: when each last said what it has, for those that did when they were asked last;
        seconds since 1970, as is all here.
    :ivar loaded: when the configuration was.
    """

    registries: frozenset[str]
    answered: Mapping[str, float]
    loaded: float

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Surroundings:
        """Read them from the status document."""
        known = status["registries"]
        return cls(
            frozenset(one["name"] for one in known if one["configured"]),
            {
                one["name"]: seconds_since_1970(one["lastAskedAt"])
                for one in known
                if one["lastAskedAt"] is not None and one["lastOutcome"] in ("present", "absent")
            },
            seconds_since_1970(status["configuration"]["changedAt"]),
        )


def gist(error: str) -> str:
    """Return the reason in a runtime's error, without what stands around it."""
    text = error
    for pattern in _AROUND:
        text = pattern.sub("", text)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}..."


def failed_images(
    failures: Iterable[Record], ended: Iterable[Record], node: Surroundings
) -> Iterator[Trouble]:
    """Say which images cannot be pulled, and why; images of one cause together.

    :param failures: the pulls that failed, newest first.
    :param ended: the last pulls, newest first: an image that was pulled since is no trouble.
    """
    cured = {one["image"]: one["number"] for one in reversed(list(ended)) if not one["error"]}
    images: dict[str, list[Record]] = {}
    for one in failures:
        if _counts(one) and one["number"] > cured.get(one["image"], 0):
            images.setdefault(one["image"], []).append(one)
    groups: dict[Failure, list[str]] = {}
    for image, records in images.items():
        failure = _overtaken(records[0], node) or explained(records[0], node.registries)
        groups.setdefault(failure, []).append(image)
    for failure, names in groups.items():
        records = [one for name in names for one in images[name]]
        more = " or more" if any(len(images[name]) >= TOLD_EACH for name in names) else ""
        times = f"failed {len(records)} times{more}" if len(records) > 1 else ""
        if failure.passed:
            what = f"{times or 'failed'} {failure.what}"
        else:
            what = ", ".join(filter(None, (times, failure.what)))
        since = min(one["began"] for one in records)
        yield Trouble(_images(names), what, failure.cure, since, failure.passed)


def _overtaken(record: Record, node: Surroundings) -> Failure | None:
    """Say what has changed since a pull failed, if that may have mended it."""
    over = seconds_since_1970(record["began"]) + record["seconds"]
    again = "pull it again to see"
    if node.loaded > over:
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(node.loaded))
        return Failure(f"before the configuration changed ({when}): {again}", "", passed=True)
    if any(advice.needs_runtimes_settings(one["error"]) for one in record["attempts"]):
        # Another registry has it, and there the cure is still to be made.
        return None
    for one in record["lookUps"]:
        name = one["registry"]
        if one["outcome"] == "unknown" and node.answered.get(name, 0.0) > over:
            return Failure(f"before {name} answered again: {again}", "", passed=True)
    return None


def passed_over(ended: Iterable[Record], registries: frozenset[str]) -> Iterator[Trouble]:
    """Say which registries the runtime cannot pull from, though the images came from elsewhere.

    :param ended: the last pulls, newest first.
    :param registries: the names of those that are configured.
    """
    known: set[str] = set()
    for one in ended:
        for attempt in reversed(one["attempts"]):
            registry, error = attempt["registry"], attempt["error"]
            if registry in known:
                continue
            if error and (one["error"] or _ABSENT.search(gist(error))):
                # It is told of the image; or it may have all others.
                continue
            known.add(registry)
            if error:
                what = f"the runtime cannot pull from it: {gist(error)}"
                what += f" ({one['image']} came from {one['registry']})"
                cure = advice.cure(error, configured=registry in registries)
                yield Trouble(f"registry {registry}", what, cure, one["began"])


def explained(record: Record, registries: frozenset[str]) -> Failure:
    """Say why a pull failed: what every registry said, in the order in which they were asked.

    :param registries: the names of those that are configured; the others are origins.
    """
    tried = {one["name"]: one for one in record["attempts"]}
    asked = {one["name"]: one for one in record["lookUps"]}
    names = tuple(dict.fromkeys((*asked, *tried)))
    origins = [
        name for name in names if (asked.get(name) or tried[name])["registry"] not in registries
    ]
    unreached = [name for name in origins if _is_unreached(asked.get(name), tried.get(name))]
    reasons = [_said(asked.get(name), tried.get(name)) for name in names if name not in unreached]
    reasons = [one for one in reasons if one]
    strict = _STRICT.search(record["error"]) or _STRICT.search(record["reason"])
    rule = "" if strict is None else strict[1]
    nowhere = bool(reasons) and all(
        _has_it_not(asked.get(name), tried.get(name)) for name in names if name not in unreached
    )
    away = [_away(asked.get(name), tried.get(name)) for name in unreached]
    if not reasons and not away:
        reasons, nowhere = [gist(record["error"]).removeprefix("image-cri-shim: ")], False
    words = "; ".join(reasons)
    if nowhere:
        words = f"found in none of your registries ({words})" if away else f"found nowhere: {words}"
    first, last = (words, [rule]) if rule not in words else (words, [])
    if rule and not reasons:
        first, last = rule, []
    said = "; ".join(filter(None, (first, *away, *last)))
    return Failure(said, _cure(record, names, registries, unreached, rule, nowhere=nowhere))


def _counts(failed: Record) -> bool:
    """Tell whether a failure is the image's, and not its client's or the runtime's absence."""
    last = failed["attempts"][-1]["error"] if failed["attempts"] else ""
    return failed["error"] != GIVEN_UP and not last.startswith(_NO_RUNTIME)


def _said(asked: Record | None, tried: Record | None) -> str:
    """Say what came of one registry: ``harbor.corp: absent (404)``; nothing if it pulled."""
    error = tried["error"] if tried is not None else ""
    if asked is None:
        return f"{tried['registry']}: {gist(error)}" if tried is not None and error else ""
    outcome = asked["outcome"]
    said = f"{asked['registry']}: "
    said += "has it" if outcome == "present" else f"{outcome} ({asked['detail']})"
    if not error:
        return said
    link = "but" if outcome == "present" else "and"
    return f"{said}, {link} the runtime cannot pull it: {gist(error)}"


def _is_unreached(asked: Record | None, tried: Record | None) -> bool:
    return any(advice.is_unreached(text) for text in _texts(asked, tried))


def _away(asked: Record | None, tried: Record | None) -> str:
    """Say of an origin why nothing was heard from it, without the addresses that were tried."""
    text = next(text for text in _texts(asked, tried) if advice.is_unreached(text))
    why = gist(text)
    if "proxyconnect" not in why:
        why = why.rpartition(": ")[2]
    registry = (asked or tried or {})["registry"]
    return f"its origin {registry} cannot be reached: {why}"


def _has_it_not(asked: Record | None, tried: Record | None) -> bool:
    """Tell whether everybody who was asked for a name has said that it is not there."""
    return (asked is None or asked["outcome"] == "absent") and (
        tried is None or _ABSENT.search(gist(tried["error"])) is not None
    )


def _cure(
    record: Record,
    names: Sequence[str],
    registries: frozenset[str],
    unreached: Sequence[str],
    rule: str,
    *,
    nowhere: bool,
) -> str:
    """Say what to do first: about what failed before what is not there, in the pull's order.

    An origin comes last, and is nothing to see to where a registry had the image.
    """
    tried = {one["name"]: one for one in record["attempts"]}
    asked = {one["name"]: one for one in record["lookUps"]}
    broken: list[str] = []
    missing: list[str] = []
    at_origin: list[str] = []
    for name in names:
        configured = (asked.get(name) or tried[name])["registry"] in registries
        for text in _texts(asked.get(name), tried.get(name)):
            kept = missing if _is_absent(text) else broken if configured else at_origin
            if name not in unreached:
                kept.append(text)
    cures = [advice.cure(text) for text in _of_first(broken)]
    if rule:
        cures.append(_about_rule(rule))
        cures += ["Or let the node reach its origin."] if unreached else []
    elif unreached and nowhere:
        cures.append(_ABOUT_ORIGIN)
    had_it = any(one["outcome"] == "present" for one in asked.values())
    if not any(cures) and not had_it:
        cures = [advice.cure(text, configured=False) for text in _of_first(at_origin)]
        if unreached:
            cures.append(advice.OF_ORIGIN if asked or registries else _NO_REGISTRIES)
    if not any(cures) and not (had_it and broken):
        cures = [_ABOUT_MISSING] if missing else [advice.cure(record["error"], configured=False)]
    return " ".join(dict.fromkeys(filter(None, cures)))


def _texts(asked: Record | None, tried: Record | None) -> Iterator[str]:
    """Yield what went wrong with one registry, or what says that it has not the image."""
    looked_up = asked is not None and asked["outcome"] != "present" and asked["detail"]
    if looked_up:
        yield looked_up
    # The registry's own refusal has been told by the look-up.
    told = looked_up and not advice.needs_runtimes_settings(tried["error"] if tried else "")
    if tried is not None and tried["error"] and not told:
        yield tried["error"]


def _of_first(texts: Sequence[str]) -> list[str]:
    """Return the first text about which something can be done, and the runtime's beside it."""
    useful = [text for text in texts if advice.cure(text)]
    more = [text for text in useful[1:2] if advice.needs_runtimes_settings(text)]
    return [*useful[:1], *more]


def _is_absent(text: str) -> bool:
    return text.startswith("404") or _ABSENT.search(gist(text)) is not None


def _about_rule(strict: str) -> str:
    if "left alone" in strict:
        return (
            "This rule keeps the shim from asking any registry for it: change its `exclude` or "
            "its `registries`."
        )
    return (
        "Put the image into one of these registries, or allow its origin in this rule "
        "(`originAllowed`)."
    )


def _images(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"image {names[0]}"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"images {', '.join(names[:_NAMED])}{more}"
