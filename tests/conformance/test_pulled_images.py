"""What is pulled is there, under the names that were written and under no others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.conformance.conftest import ALL, Endpoint, on
from tests.conformance.images import (
    INDEX,
    NAMED_USER,
    NGINX,
    NUMBERED_USER,
    NUMBERS,
    ONE,
    PAUSE,
    THREE,
    TWO,
    expected,
    size_of,
)
from tests.support.images import build_image
from tests.support.runtime_client import RuntimeClient

pytestmark = on(*ALL)

REPOSITORY = "origin.test/lab/one"
DIGEST = f"{REPOSITORY}@{ONE.manifest_digest}"
NGINX_TAG = "docker.io/library/nginx:1.25"


def others(client: RuntimeClient) -> list:
    """Return the images besides the pause image."""
    return [image for image in client.images() if image.id != PAUSE.config_digest]


def refusal(client: RuntimeClient, image: str, **options) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        client.pull(image, **options)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        (f"{REPOSITORY}:1", [f"{REPOSITORY}:1"]),
        (REPOSITORY, [f"{REPOSITORY}:latest"]),
        (DIGEST, []),
        (f"{REPOSITORY}:1@{ONE.manifest_digest}", []),
        (f"{REPOSITORY}:other@{ONE.manifest_digest}", []),
    ],
    ids=["tag", "no tag", "digest", "tag and digest", "other tag and digest"],
)
def test_a_pulled_image_has_exactly_the_names_that_were_pulled(
    clean: RuntimeClient, name: str, tags: list[str]
) -> None:
    image = expected(ONE, tags, [DIGEST])
    assert clean.pull(name) == ONE.config_digest
    assert clean.status_of(name) == image
    assert others(clean) == [image]


@pytest.mark.parametrize("name", ["nginx:1.25", "library/nginx:1.25", NGINX_TAG])
def test_short_names_are_those_of_docker_hub(clean: RuntimeClient, name: str) -> None:
    assert clean.pull(name) == NGINX.config_digest
    image = expected(NGINX, [NGINX_TAG])
    for other in ("nginx:1.25", "library/nginx:1.25", NGINX_TAG):
        assert clean.status_of(other) == image


def test_status_by_name_digest_and_id_is_the_same_message(clean: RuntimeClient) -> None:
    ref = clean.pull(f"{REPOSITORY}:1")
    hexadecimal = ONE.config_digest.removeprefix("sha256:")
    names = (
        f"{REPOSITORY}:1",
        DIGEST,
        f"{REPOSITORY}:1@{ONE.manifest_digest}",
        ref,
        hexadecimal,
        hexadecimal[:12],
        f"sha256:{hexadecimal[:12]}",
    )
    image = expected(ONE, [f"{REPOSITORY}:1"])
    assert [clean.status_of(name) for name in names] == [image] * len(names)


def test_a_digest_is_found_whatever_was_pulled(clean: RuntimeClient) -> None:
    clean.pull(DIGEST)
    image = expected(ONE, [], [DIGEST])
    assert clean.status_of(DIGEST) == clean.status_of(ONE.config_digest) == image
    assert clean.status_of(f"{REPOSITORY}:1") is None


def test_three_tags_of_one_image_are_three_names_of_one_image(clean: RuntimeClient) -> None:
    tags = [f"{REPOSITORY}:{tag}" for tag in (1, 2, 3)]
    for tag in reversed(tags):
        assert clean.pull(tag) == ONE.config_digest
    image = expected(ONE, tags)
    assert others(clean) == [image]
    assert [clean.status_of(name) for name in (*tags, ONE.config_digest)] == [image] * 4


def test_a_tag_and_a_digest_of_one_image_are_one_image(clean: RuntimeClient) -> None:
    clean.pull(DIGEST)
    clean.pull(f"{REPOSITORY}:2")
    assert others(clean) == [expected(ONE, [f"{REPOSITORY}:2"])]


def test_different_images_keep_their_names_apart(clean: RuntimeClient) -> None:
    names = {
        "origin.test/lab/one:1": ONE,
        "origin.test/lab/two:1": TWO,
        "origin.test/lab/three:1": THREE,
    }
    for name in names:
        clean.pull(name)
    for name, image in names.items():
        assert clean.status_of(name) == expected(image, [name])
    listed = sorted(others(clean), key=lambda image: image.repo_tags[0])
    assert listed == [expected(names[name], [name]) for name in sorted(names)]


def test_one_image_of_two_hosts_has_both_names(clean: RuntimeClient, endpoint: Endpoint) -> None:
    names = ["origin.test/lab/one:1", "second.test/lab/one:1"]
    clean.pull(names[1])
    assert others(clean) == [expected(ONE, names[1:])]
    if not endpoint.is_rewriting:
        # To the offline registry both are one name, so that it is there for both.
        assert clean.status_of(names[0]) is None
    clean.pull(names[0])
    image = expected(ONE, names)
    assert [clean.status_of(name) for name in names] == [image, image]
    assert others(clean) == [image]


def test_a_name_at_the_offline_registry_itself_is_a_name_like_any_other(
    clean: RuntimeClient, endpoint: Endpoint
) -> None:
    own = f"{endpoint.lab.offline.host}/lab/one:1"
    clean.pull(own)
    assert others(clean) == [expected(ONE, [own])]
    clean.pull(f"{REPOSITORY}:1")
    image = expected(ONE, [own, f"{REPOSITORY}:1"])
    assert others(clean) == [image]
    assert clean.status_of(own) == clean.status_of(f"{REPOSITORY}:1") == image


def test_a_second_pull_changes_nothing(clean: RuntimeClient) -> None:
    refs = {clean.pull(f"{REPOSITORY}:1") for _ in range(3)}
    assert refs == {ONE.config_digest}
    assert others(clean) == [expected(ONE, [f"{REPOSITORY}:1"])]


def test_an_index_gives_the_image_of_this_machine_under_its_own_digest(
    clean: RuntimeClient,
) -> None:
    name = f"origin.test/lab/index@{INDEX.manifest_digest}"
    for pulled, tags in ((name, []), ("origin.test/lab/index:1", ["origin.test/lab/index:1"])):
        assert clean.pull(pulled) == TWO.config_digest
        image = expected(TWO, tags, [name], size=size_of(TWO, INDEX))
        assert clean.status_of(pulled) == image


def test_a_tag_that_moved_names_the_new_image(clean: RuntimeClient, endpoint: Endpoint) -> None:
    before = build_image(f"before {endpoint.way} {endpoint.version}")
    after = build_image(f"after {endpoint.way} {endpoint.version}")
    name = "origin.test/lab/moving:1"
    for image in (before, after):
        endpoint.lab.publish("lab/moving", "1", image)
        assert clean.pull(name) == image.config_digest
    assert clean.status_of(name) == expected(after, [name])
    left = f"origin.test/lab/moving@{before.manifest_digest}"
    assert clean.status_of(before.config_digest) == expected(before, [], [left])
    assert clean.status_of(left) == expected(before, [], [left])


@pytest.mark.parametrize(
    ("repository", "image", "fields"),
    [
        ("lab/uid", NUMBERED_USER, {"uid": {"value": 1002}}),
        ("lab/username", NAMED_USER, {"username": "www-data"}),
        ("lab/uid-gid", NUMBERS, {"uid": {"value": 1003}}),
    ],
    ids=["uid", "username", "uid and gid"],
)
def test_the_user_of_an_image_is_told(
    clean: RuntimeClient, repository: str, image, fields: dict
) -> None:
    name = f"origin.test/{repository}:1"
    clean.pull(name)
    assert clean.status_of(name) == expected(image, [name], **fields)
    assert others(clean) == [expected(image, [name], **fields)]


def test_what_a_kubelet_says_about_a_pull_does_not_disturb_it(clean: RuntimeClient) -> None:
    """The spec's annotations, the name as the user wrote it, the sandbox that it is for."""
    answer = clean.call(
        "PullImage",
        image={
            "image": f"{REPOSITORY}:1",
            "annotations": {"kubernetes.io/arch": "any"},
            "user_specified_image": "one",
        },
        sandbox_config={"metadata": {"name": "pod", "uid": "uid", "namespace": "lab"}},
    )
    assert answer.image_ref == ONE.config_digest
    assert others(clean) == [expected(ONE, [f"{REPOSITORY}:1"])]


@pytest.mark.parametrize(
    ("asked", "complete"),
    [
        ("origin.test/lab/absent:1", "origin.test/lab/absent:1"),
        ("origin.test/lab/one:absent", "origin.test/lab/one:absent"),
        ("absent", "docker.io/library/absent:latest"),
        (f"absent@sha256:{64 * '0'}", f"docker.io/library/absent@sha256:{64 * '0'}"),
    ],
)
def test_pulling_what_nobody_has_is_not_found(
    clean: RuntimeClient, asked: str, complete: str
) -> None:
    assert refusal(clean, asked) == (
        grpc.StatusCode.NOT_FOUND,
        (
            f'failed to pull and unpack image "{complete}": '
            f'failed to resolve reference "{complete}": {complete}: not found'
        ),
    )
    assert others(clean) == []


@pytest.mark.parametrize("name", ["", "UPPER/Case", f"{REPOSITORY}:in valid", 64 * "0"])
def test_pulling_what_is_no_name_is_the_runtimes_refusal(clean: RuntimeClient, name: str) -> None:
    code, details = refusal(clean, name)
    assert code == grpc.StatusCode.UNKNOWN
    assert details.startswith(f'failed to parse image reference "{name}": invalid re')


def test_a_pull_that_has_a_millisecond_exceeds_its_deadline(clean: RuntimeClient) -> None:
    code, _ = refusal(clean, f"{REPOSITORY}:1", timeout=0.001)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert clean.pull(f"{REPOSITORY}:1") == ONE.config_digest


def test_pulls_of_one_image_at_the_same_time_are_one_image(
    clean: RuntimeClient, endpoint: Endpoint
) -> None:
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(clean.pull, [f"{REPOSITORY}:1"] * 8))
    assert set(refs) == {ONE.config_digest}
    assert others(clean) == [expected(ONE, [f"{REPOSITORY}:1"])]


def test_pulls_of_many_names_at_the_same_time_all_arrive(clean: RuntimeClient) -> None:
    names = [f"{REPOSITORY}:{tag}" for tag in (1, 2, 3)]
    names += ["origin.test/lab/two:1", "origin.test/lab/three:1", "nginx:1.25"]
    with ThreadPoolExecutor(6) as pool:
        refs = list(pool.map(clean.pull, names))
    ids = [ONE.config_digest] * 3
    assert refs == [*ids, *(image.config_digest for image in (TWO, THREE, NGINX))]
    assert clean.status_of(refs[0]) == expected(ONE, names[:3])
    assert len(others(clean)) == 4
