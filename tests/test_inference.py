"""What a held name was called, told by the rules alone: the right name, or none."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given

from image_cri_shim.decision import Registry
from image_cri_shim.inference import infer_original
from image_cri_shim.originals import in_full
from image_cri_shim.pattern import parse_pattern
from image_cri_shim.policy import Policy
from image_cri_shim.reference import OFFICIAL_NAMESPACE, InvalidReferenceError
from image_cri_shim.rules import Rewrite, Rule
from tests import test_policy_properties as properties

HUB = Registry("sealos.hub:5000", offline=True)
MIRROR = Registry("mirror.corp", prefix="all", keep_host=True)
HARBOR = Registry("harbor.corp", prefix="proxy")
DIGEST = "sha256:" + "12" * 32


def rule(match: str, **options: object) -> Rule:
    return Rule(1, (parse_pattern(match),), **options)  # type: ignore[arg-type]


def rewriting(origin: str, path: str) -> Rule:
    pattern = parse_pattern(origin)
    return Rule(1, (pattern,), rewrite=(Rewrite(pattern, path),))


K8S = rewriting("registry.k8s.io/*", "google_containers")


@pytest.mark.parametrize(
    ("held", "original"),
    [
        # Docker Hub's own images are the only ones under library.
        ("sealos.hub:5000/library/nginx:1", "docker.io/library/nginx:1"),
        ("sealos.hub:5000/library/nginx", "docker.io/library/nginx:latest"),
        (f"sealos.hub:5000/library/nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        ("harbor.corp/proxy/library/nginx:1", "docker.io/library/nginx:1"),
        # Whose path this is nobody can tell.
        ("sealos.hub:5000/a/b:1", None),
        ("harbor.corp/proxy/a/b:1", None),
        # It is told where the host is in the path.
        ("mirror.corp/all/quay.io/a/b:1", "quay.io/a/b:1"),
        ("mirror.corp/all/docker.io/library/nginx:1", "docker.io/library/nginx:1"),
        ("mirror.corp/all/a/b:1", None),
        # Beside the prefix somebody else's images are.
        ("mirror.corp/quay.io/a/b:1", None),
        ("harbor.corp/library/nginx:1", None),
        ("harbor.corp/proxylibrary/nginx:1", None),
        # What no registry of ours holds.
        ("docker.io/library/nginx:1", None),
        ("other.corp/library/nginx:1", None),
        ("sha256:" + "ab" * 32, None),
        ("UPPER", None),
        ("", None),
    ],
)
def test_the_name_is_inferred_where_the_path_tells_it(held: str, original: str | None) -> None:
    assert infer_original(Policy([HUB, MIRROR, HARBOR]), held) == original


@pytest.mark.parametrize(
    ("made_by", "held", "original"),
    [
        (K8S, "sealos.hub:5000/google_containers/pause:3", "registry.k8s.io/pause:3"),
        (K8S, "sealos.hub:5000/google_containers/a/b:3", "registry.k8s.io/a/b:3"),
        (K8S, "sealos.hub:5000/google_containers:3", None),
        (K8S, "sealos.hub:5000/google/pause:3", None),
        (rewriting("quay.io/a/b", "c/d"), "sealos.hub:5000/c/d:1", "quay.io/a/b:1"),
        (rewriting("quay.io/a/*", "c"), "sealos.hub:5000/c/x:1", "quay.io/a/x:1"),
        (rewriting("quay.io/a/*", ""), "sealos.hub:5000/x/y:1", "quay.io/a/x/y:1"),
        # Of many hosts it may be any.
        (rewriting("*.io/*", "c"), "sealos.hub:5000/c/x:1", None),
        (
            rule("quay.io", registries=("sealos.hub:5000",)),
            "sealos.hub:5000/a/b:1",
            "quay.io/a/b:1",
        ),
        (
            rule("quay.io/a/*", registries=("sealos.hub:5000",)),
            "sealos.hub:5000/c/b:1",
            None,
        ),
        (rule("*.io", registries=("sealos.hub:5000",)), "sealos.hub:5000/a/b:1", None),
        (rule("quay.io", registries=("mirror.corp/all",)), "sealos.hub:5000/a/b:1", None),
    ],
)
def test_the_name_is_inferred_where_a_rule_tells_it(
    made_by: Rule, held: str, original: str | None
) -> None:
    assert infer_original(Policy([HUB, MIRROR], [made_by]), held) == original


def test_two_names_that_are_rewritten_to_one_are_none() -> None:
    rules = [rewriting("quay.io/*", "third"), rewriting("ghcr.io/*", "third")]
    assert infer_original(Policy([HUB], rules), "sealos.hub:5000/third/a:1") is None
    assert infer_original(Policy([HUB], rules[:1]), "sealos.hub:5000/third/a:1") == "quay.io/a:1"


def test_a_rule_that_leaves_the_name_alone_tells_nothing() -> None:
    excluded = rule("docker.io", exclude=(parse_pattern("docker.io/library/*"),))
    assert infer_original(Policy([HUB], [excluded]), "sealos.hub:5000/library/nginx:1") is None


@properties.quick
@given(properties.policies(), properties.texts)
def test_what_is_inferred_is_right_or_another_name_of_the_same_image(
    policy: Policy, text: str
) -> None:
    """Whatever is inferred is rewritten to just this name, so it is found under it, too.

    It is another name than the one that was pulled only where the path is everybody's: below
    `library/`, which is taken for Docker Hub's, or where a rule is taken at its word.
    """
    try:
        plan = policy.plan(text)
    except InvalidReferenceError:
        return
    for candidate in plan.candidates:
        inferred = infer_original(policy, candidate.name)
        if inferred is None or inferred == in_full(text):
            continue
        other = policy.plan(inferred)
        assert candidate.name in [one.name for one in other.candidates]
        assert candidate.registry is not None
        assert (
            OFFICIAL_NAMESPACE in candidate.reference.repository
            or other.rule is not None
            or candidate.registry.keep_host
        )


@properties.quick
@given(properties.policies(), properties.texts)
def test_of_one_registry_without_rules_only_library_may_be_another_name(
    policy: Policy, text: str
) -> None:
    try:
        plan = Policy(policy.registries[:1]).plan(text)
    except InvalidReferenceError:
        return
    # A host in a path is in lower case.
    lower = attrs.evolve(plan.reference, domain=plan.reference.domain.lower()).pinned()
    for candidate in plan.candidates:
        inferred = infer_original(Policy(policy.registries[:1]), candidate.name)
        if candidate.registry is not None and candidate.registry.keep_host:
            assert inferred in (str(lower), None)
        elif inferred is not None and inferred != in_full(text):
            assert inferred.startswith("docker.io/library/")
