"""What the operator is told of strict rules: what they refuse, and what they do not."""

from __future__ import annotations

import pytest

from image_cri_shim.config import parse, warnings
from image_cri_shim.policy import Policy

DIGEST = f"@sha256:{'0' * 64}"


def warned(text: str) -> tuple[str, ...]:
    return warnings(parse(text, "f"))


def leaking(label: str, where: str) -> str:
    return (
        f"{label}: it does not allow the origin, but it has `tags`, so it is not about references "
        f"with a digest; they go to {where} and may be pulled from their origin; put a rule with "
        "this `match` and originAllowed: false, without `tags`, right behind it"
    )


STRICT = "{match: quay.io, tags: v*, originAllowed: false}"


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        (STRICT, "the default"),
        (f"{STRICT}, {{match: a.io, originAllowed: false}}", "the default"),
        (f"{STRICT}, {{match: quay.io}}", "rule 2 (quay.io)"),
        (f"{STRICT}, {{match: '*'}}", "rule 2 (*)"),
        (f"{STRICT}, {{match: quay.io/a}}", "rule 2 (quay.io/a) and the default"),
        (f"{STRICT}, {{match: quay.io/a, originAllowed: false}}", "the default"),
        (f"{STRICT}, {{match: quay.io, tags: '*', originAllowed: false}}", "the default"),
        (f"{STRICT}, {{match: quay.io/a}}, {{match: '*'}}", "rule 2 (quay.io/a) and rule 3 (*)"),
        (
            f"{STRICT}, {{match: quay.io/a, tags: x}}, {{match: a.io}}, {{match: '*.io'}}",
            "rule 4 (*.io)",
        ),
    ],
)
def test_where_images_with_a_digest_go_from_a_strict_rule_for_tags_is_told(
    rules: str, where: str
) -> None:
    found = leaking("rule 1 (quay.io)", where)
    assert found in warned(f"rules: [{rules}]")
    # And so they do.
    config = parse(f"rules: [{rules}]", "f")
    plan = Policy(config.all_registries, config.rules).plan(f"quay.io/x{DIGEST}")
    assert plan.origin_allowed
    assert (plan.rule.label if plan.rule else "the default") == where.rpartition(" and ")[2]


def test_a_strict_rule_that_leaves_its_images_alone_is_told_so_as_well() -> None:
    rule = "{match: quay.io, tags: v*, registries: [], originAllowed: false}"
    assert warned(f"rules: [{rule}]") == (leaking("rule 1 (quay.io)", "the default"),)


@pytest.mark.parametrize(
    "rules",
    [
        f"{STRICT}, {{match: quay.io, originAllowed: false}}",
        f"{STRICT}, {{match: '*.io', originAllowed: false}}",
        f"{STRICT}, {{match: '*', originAllowed: false}}",
        # Plain enough: somebody wants that.
        f"{STRICT}, {{match: quay.io/a}}, {{match: '*', originAllowed: false}}",
        "{match: quay.io, originAllowed: false}",
        "{match: quay.io, tags: v*}",
    ],
)
def test_a_strict_rule_with_another_one_behind_it_is_not(rules: str) -> None:
    assert warned(f"rules: [{rules}]") == ()


def test_a_rule_for_everything_has_no_registrys_own_images() -> None:
    text = (
        "registries: [{address: a.io, auth: 'a:b'}]\n"
        "rules: [{match: a.io, tags: v*, originAllowed: false}, {match: '*', originAllowed: false}]"
    )
    assert warned(text) == (leaking("rule 1 (a.io)", "the default"),)


def test_a_strict_rule_for_tags_refuses_nothing_that_has_a_digest() -> None:
    text = (
        "address: ''\nregistries: [{address: a.corp, trustFor: tag}]\n"
        f"rules: [{STRICT}, {{match: '*', registries: [], originAllowed: false}}]"
    )
    assert warned(text) == ()


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (
            "address: ''\n",
            "there is no registry that it may ask, so it refuses all that it is about",
        ),
        (
            "address: ''\nregistries: [{address: a.corp, trustFor: digest}]\n",
            "no registry that it may ask is trusted for references without a digest, so it "
            "refuses all that it is about",
        ),
    ],
)
def test_one_that_nobody_can_serve_refuses_what_it_is_about(head: str, why: str) -> None:
    rest = "{match: '*', registries: [], originAllowed: false}"
    found = f"rule 1 (quay.io): it does not allow the origin, and {why}"
    assert warned(f"{head}rules: [{STRICT}, {rest}]") == (found,)


def test_a_rule_for_tags_that_asks_only_registries_for_digests_is_told_so() -> None:
    head = (
        "registries: [{address: a.corp, trustFor: digest}, {address: b.corp, trustFor: digest}, "
        "{address: c.corp, trustFor: tag}]\n"
    )
    never = (
        "rule 1 (quay.io): it has `tags`, so it is about references without a digest alone, and "
        "every registry that it may ask is trusted for references with a digest only, so it never "
        "asks any; leave `tags` out, or name another registry"
    )
    for named, found in {
        "[a.corp, b.corp]": (never,),
        "[a.corp, c.corp]": (),
        "[a.corp, 'sealos.hub:5000']": (),
        "[]": (),
        "": (),
    }.items():
        rule = f"match: quay.io, tags: v*, registries: {named}"
        assert warned(f"{head}rules: [{{{rule}}}]") == found
    only = "address: ''\nregistries: [{address: a.corp, trustFor: digest}]\n"
    assert warned(f"{only}rules: [{{match: quay.io, tags: v*}}]") == (never,)
    assert warned(f"{only}rules: [{{match: quay.io}}]") == ()
    assert warned("address: ''\nrules: [{match: quay.io, tags: v*}]") == ()


def test_many_strict_rules_are_not_compared_without_an_end() -> None:
    strict = "".join(f"- {{match: h{n}.x, tags: v, originAllowed: false}}\n" for n in range(5_000))
    others = "".join(f"- match: g{n}.x\n" for n in range(5_000))
    found = warned(f"rules:\n{strict}{others}")
    # Those that were compared in time.
    assert 0 < len(found) < 1_000
    assert found[0] == leaking("rule 1 (h0.x)", "the default")
