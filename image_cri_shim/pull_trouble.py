"""What recent pulls tell of trouble: images that cannot be pulled, and registries passed over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from image_cri_shim import advice

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
_CANCELLED = "cancelled"
# In front of what the shim says where the runtime was not there to be asked.
_NO_RUNTIME = "UNAVAILABLE: image-cri-shim: "
_ABOUT_MISSING = (
    "Push the image to one of these registries, or correct its name; "
    "`image-cri-shim resolve IMAGE` shows where it is looked for."
)


@attrs.frozen
class Failure:
    """Why an image could not be pulled.

    :ivar what: the reasons, without the image's name.
    """

    what: str
    cure: str


@attrs.frozen
class Trouble:
    """One finding.

    :ivar about: ``image nginx:1.25`` or ``registry harbor.corp``.
    :ivar since: when it was seen first, as the records write it.
    """

    about: str
    what: str
    cure: str
    since: str


def gist(error: str) -> str:
    """Return the reason in a runtime's error, without what stands around it."""
    text = error
    for pattern in _AROUND:
        text = pattern.sub("", text)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}..."


def failed_images(failures: Iterable[Record], ended: Iterable[Record]) -> Iterator[Trouble]:
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
        groups.setdefault(explained(records[0]), []).append(image)
    for failure, names in groups.items():
        records = [one for name in names for one in images[name]]
        more = " or more" if any(len(images[name]) >= TOLD_EACH for name in names) else ""
        times = f"failed {len(records)} times{more}, " if len(records) > 1 else ""
        yield Trouble(
            _images(names), times + failure.what, failure.cure, min(one["began"] for one in records)
        )


def passed_over(ended: Iterable[Record]) -> Iterator[Trouble]:
    """Say which registries the runtime cannot pull from, though the images came from elsewhere.

    :param ended: the last pulls, newest first.
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
                yield Trouble(f"registry {registry}", what, advice.cure(error), one["began"])


def explained(record: Record) -> Failure:
    """Say why a pull failed: what every registry said, in the order in which they were asked."""
    tried = {one["name"]: one for one in record["attempts"]}
    asked = {one["name"]: one for one in record["lookUps"]}
    reasons = [_looked_up(one, tried.get(name)) for name, one in asked.items()]
    reasons += [
        f"{one['registry']}: {gist(one['error'])}"
        for name, one in tried.items()
        if name not in asked and one["error"]
    ]
    strict = _STRICT.search(record["error"]) or _STRICT.search(record["reason"])
    nowhere = all(one["outcome"] == "absent" for one in asked.values()) and all(
        _ABSENT.search(gist(one["error"])) for one in tried.values()
    )
    if not reasons:
        reasons, nowhere = [gist(record["error"]).removeprefix("image-cri-shim: ")], False
    words = "; ".join(reasons)
    if nowhere:
        words = f"found nowhere: {words}"
    if strict is not None and strict[1] not in words:
        words += f"; {strict[1]}"
    return Failure(words, _cure(record, tried, asked, "" if strict is None else strict[1]))


def _counts(failed: Record) -> bool:
    """Tell whether a failure is the image's, and not its client's or the runtime's absence."""
    last = failed["attempts"][-1]["error"] if failed["attempts"] else ""
    return failed["error"] != _CANCELLED and not last.startswith(_NO_RUNTIME)


def _looked_up(asked: Record, tried: Record | None) -> str:
    """Say what came of one registry: ``harbor.corp: absent (404)``."""
    outcome = asked["outcome"]
    said = f"{asked['registry']}: "
    said += "has it" if outcome == "present" else f"{outcome} ({asked['detail']})"
    if tried is None or not tried["error"]:
        return said
    link = "but" if outcome == "present" else "and"
    return f"{said}, {link} the runtime cannot pull it: {gist(tried['error'])}"


def _cure(
    record: Record, tried: Mapping[str, Record], asked: Mapping[str, Record], strict: str
) -> str:
    """Say what to do first: about what failed before what is not there, in the pull's order."""
    broken: list[str] = []
    missing: list[str] = []
    for name in dict.fromkeys((*asked, *tried)):
        for text in _texts(asked.get(name), tried.get(name)):
            kept = missing if _is_absent(text) else broken
            kept.append(text)
    cures = [advice.cure(text) for text in _of_first(broken)]
    if strict:
        cures.append(_about_rule(strict))
    if not any(cures):
        cures = [_ABOUT_MISSING] if missing else [advice.cure(record["error"])]
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
