"""What clients see stays as it is when the shim was killed and comes back."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.conftest import Endpoint, on
from tests.conformance.images import BUSYBOX_NAME, NGINX, ONE, TWO, expected
from tests.support.pods import Pod
from tests.support.runtime_client import RuntimeClient

pytestmark = on("passing-v1", "rewriting-v1", "v1alpha2-to-v1-only")


def test_after_a_kill_every_image_and_container_has_the_names_it_had(
    clean: RuntimeClient, endpoint: Endpoint, tmp_path: Path
) -> None:
    names = ["origin.test/lab/one:1", "origin.test/lab/one:2", "second.test/lab/one:1"]
    names += [f"origin.test/lab/two@{TWO.manifest_digest}", "nginx:1.25", BUSYBOX_NAME]
    for name in names:
        clean.pull(name)
    pod = Pod(clean, tmp_path)
    try:
        container = pod.run(BUSYBOX_NAME, "/bin/busybox", "sleep", "1000")
        images = {name: clean.status_of(name) for name in names}
        status = pod.status(container)
        daemon = endpoint.lab.daemons[endpoint.way]
        daemon.kill()
        daemon.start()
        # On a new connection, and on the one that broke.
        with endpoint.client() as client:
            assert {name: client.status_of(name) for name in names} == images
        assert {name: clean.status_of(name) for name in names} == images
        assert pod.status(container) == status
    finally:
        pod.remove()
    assert images["nginx:1.25"] == expected(NGINX, ["docker.io/library/nginx:1.25"])
    assert images[names[2]] == expected(ONE, names[:3])
    assert images[names[3]] == expected(TWO, [], [names[3]])
    listed = {image.id: image for image in clean.images()}
    for image in images.values():
        assert listed[image.id] == image
