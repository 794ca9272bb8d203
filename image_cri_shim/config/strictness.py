"""Rules that refuse more images than was perhaps meant, or fewer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from image_cri_shim.config.coverage import Effort, covers, is_own, may_overlap
from image_cri_shim.config.settings import Config
from image_cri_shim.config.sources import asks, listed
from image_cri_shim.decision import TrustFor
from image_cri_shim.pattern import Pattern
from image_cri_shim.reference import DEFAULT_DOMAIN
from image_cri_shim.rules import Rule

_KINDS: dict[TrustFor, tuple[str, ...]] = {
    "all": ("tag", "digest"),
    "tag": ("tag",),
    "digest": ("digest",),
}
_WORDS = (("digest", "with a digest"), ("tag", "without a digest"))


def unservable(rule: Rule, config: Config) -> Iterator[str]:
    """Yield it if no registry can have what a rule is about."""
    if rule.registries == ():
        # To name no registry at all is plain enough.
        return
    sources = [one for one in config.all_registries if asks(rule, one)]
    served = {kind for one in sources for kind in _KINDS[one.trust_for]}
    if rule.origin_allowed:
        if rule.tags and sources and "tag" not in served:
            yield (
                f"{rule.label}: it has `tags`, so it is about references without a digest alone, "
                "and every registry that it may ask is trusted for references with a digest only, "
                "so it never asks any; leave `tags` out, or name another registry"
            )
        return
    strict = f"{rule.label}: it does not allow the origin, and"
    # With tags it is not about references with a digest at all.
    everything = "all that it is about" if rule.tags else "every image"
    if not served:
        yield f"{strict} there is no registry that it may ask, so it refuses {everything}"
        return
    for kind, words in _WORDS:
        if kind not in served and not (rule.tags and kind == "digest"):
            those = everything if rule.tags else "those"
            yield (
                f"{strict} no registry that it may ask is trusted for references {words}, "
                f"so it refuses {those}"
            )


def leaking(rule: Rule, config: Config, effort: Effort) -> Iterator[str]:
    """Yield it if a strict rule is not the one for its images once they have a digest.

    :param effort: what it may take, for all rules of a file together.
    """
    if rule.origin_allowed or not rule.tags:
        return
    own = frozenset(one.domain.lower() for one in config.all_registries) - {DEFAULT_DOMAIN}
    behind = config.rules[rule.number :]
    found: dict[str, None] = {}
    for pattern in rule.match:
        found |= dict.fromkeys(_beyond(pattern, behind, own, effort))
    if found and effort.spend(0):
        yield (
            f"{rule.label}: it does not allow the origin, but it has `tags`, so it is not about "
            f"references with a digest; they go to {listed(list(found))} and may be pulled from "
            "their origin; put a rule with this `match` and originAllowed: false, without "
            "`tags`, right behind it"
        )


def _beyond(
    pattern: Pattern, behind: Iterable[Rule], own: frozenset[str], effort: Effort
) -> list[str]:
    """Return which rules for digests that allow the origin have images that a pattern means.

    :param behind: the rules behind the one with the pattern.
    :returns: none if a strict rule has all that are left; of one for a part of them it is plain.
    """
    literal_own = pattern.names_one_host and is_own(pattern.host, own)
    found: list[str] = []
    for rule in behind:
        if not effort.spend(len(rule.match)):
            break
        if rule.tags:
            continue
        patterns = [one for one in rule.match if one.names_one_host or not literal_own]
        if any(covers(one, pattern) for one in patterns):
            return [*found, rule.label] if rule.origin_allowed else []
        if rule.origin_allowed and any(may_overlap(one, pattern) for one in patterns):
            found.append(rule.label)
    return [*found, "the default"]
