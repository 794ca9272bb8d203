"""What registries are asked for, one line each (explained in tests/support/resolution.py)."""

from __future__ import annotations

from image_cri_shim.decision import Registry
from tests.support.resolution import Line, Table

HUB = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
S = Registry("s.corp")
HARBOR = Registry("harbor.corp", priority=600)
PROXY = Registry("harbor.corp", prefix="proxy")
table = Table()

table.topic(
    "a higher priority first, of equal ones the offline registry, then by domain",
    Registry("a.corp", priority=0),
    Registry("C.corp"),
    Registry("d.corp"),
    Registry("b.corp", prefix="z"),
    Registry("b.corp", prefix="a"),
    Registry("b.corp-2.corp"),
    Registry("h.corp", priority=1000),
    HUB,
    Registry("fast.corp", priority=1001),
    lines="""
    q.io/a:1         => fast.corp/a:1, sealos.hub:5000/a:1, h.corp/a:1, b.corp/a/a:1, b.corp/z/a:1, b.corp-2.corp/a:1, C.corp/a:1, d.corp/a:1, a.corp/a:1, itself
    fast.corp/a      => itself as fast.corp
    """,
)
table.topic(
    "without registries",
    lines="""
    nginx            => itself
    [::1]:5000/a:1   => itself
    Nginx            !! must be lower case
    """,
)
table.topic(
    "a registry's own names are not rewritten, similar ones are",
    HUB,
    S,
    lines="""
    sealos.hub:5000/library/a     => itself as sealos.hub:5000
    SEALOS.hub:5000/a:1           => itself as sealos.hub:5000
    sealos.hub:5000/a@<sha256>    => itself as sealos.hub:5000
    s.corp/a                      => itself as s.corp
    S.Corp/a                      => itself as s.corp
    sealos.hub/a                  => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    sealos.hub:5001/a             => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    s.corp:443/a                  => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    x.s.corp/a                    => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    s.corp.evil.example/a         => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    s.corp/A                      !! must be lower case
    """,
)
table.topic(
    "a prefix stands in front",
    HUB,
    PROXY,
    lines="""
    nginx                         => sealos.hub:5000/library/nginx:latest, harbor.corp/proxy/library/nginx:latest, itself
    quay.io/a/b@<sha256>          => sealos.hub:5000/a/b@<sha256>, harbor.corp/proxy/a/b@<sha256>, itself
    harbor.corp/proxy/a/b         => itself as harbor.corp/proxy
    harbor.corp/other/b           => itself as harbor.corp/proxy
    """,
)
table.topic(
    "of several prefixes of one server the longest that fits has the credentials",
    HARBOR,
    PROXY,
    Registry("harbor.corp", prefix="proxy/deep"),
    lines="""
    q.io/a                        => harbor.corp/a:latest, harbor.corp/proxy/a:latest, harbor.corp/proxy/deep/a:latest, itself
    harbor.corp/a                 => itself as harbor.corp
    harbor.corp/proxy             => itself as harbor.corp/proxy
    harbor.corp/proxy/a           => itself as harbor.corp/proxy
    harbor.corp/proxy/deep/a      => itself as harbor.corp/proxy/deep
    harbor.corp/proxy/deeper      => itself as harbor.corp/proxy
    harbor.corp/proxyx/a          => itself as harbor.corp
    HARBOR.corp/proxy/deep        => itself as harbor.corp/proxy/deep
    """,
)
table.topic(
    "keepHost: the host is the first component, in lower case, where a path may have it",
    Registry("keeps.corp", keep_host=True),
    Registry("keeps.corp", prefix="all", keep_host=True, priority=9),
    lines="""
    nginx                         => keeps.corp/docker.io/library/nginx:latest, keeps.corp/all/docker.io/library/nginx:latest, itself
    quay.io/a:1                   => keeps.corp/quay.io/a:1, keeps.corp/all/quay.io/a:1, itself
    Quay.IO/a                     => keeps.corp/quay.io/a:latest, keeps.corp/all/quay.io/a:latest, itself
    localhost/a@<sha256>          => keeps.corp/localhost/a@<sha256>, keeps.corp/all/localhost/a@<sha256>, itself
    HUB/a                         => keeps.corp/hub/a:latest, keeps.corp/all/hub/a:latest, itself
    foo_bar.com/a                 => keeps.corp/foo_bar.com/a:latest, keeps.corp/all/foo_bar.com/a:latest, itself
    quay.io:443/a                 => itself
    [::1]/a                       => itself
    keeps.corp/quay.io/a          => itself as keeps.corp
    """,
)
table.topic(
    "trustFor: by digests, by tags, by both",
    Registry("all.corp"),
    Registry("digest.corp", trust_for="digest"),
    Registry("tag.corp", trust_for="tag"),
    lines="""
    q.io/a                        => all.corp/a:latest, tag.corp/a:latest, itself
    q.io/a:1                      => all.corp/a:1, tag.corp/a:1, itself
    q.io/a@<sha256>               => all.corp/a@<sha256>, digest.corp/a@<sha256>, itself
    q.io/a:1@<sha512>             => all.corp/a@<sha512>, digest.corp/a@<sha512>, itself
    digest.corp/a:1               => itself as digest.corp
    """,
)
table.topic(
    "Docker Hub has credentials for its own names, and holds nobody else's images",
    HUB,
    Registry("docker.io"),
    Registry("registry-1.docker.io", priority=10_000),
    Registry("Docker.IO:443"),
    lines="""
    nginx                         => sealos.hub:5000/library/nginx:latest, itself as docker.io
    index.docker.io/a/b           => sealos.hub:5000/a/b:latest, itself as docker.io
    Docker.io/a/b                 => sealos.hub:5000/a/b:latest, itself as docker.io
    quay.io/a/b                   => sealos.hub:5000/a/b:latest, itself
    registry-1.docker.io/a/b      => itself as registry-1.docker.io
    docker.io:443/a/b             => itself as Docker.IO:443
    """,
)
table.topic(
    "registries whatever they look like, but not one that runtimes take for a path",
    Registry("hub"),
    Registry("[::1]:5000"),
    Registry("localhost"),
    Registry("HUB.corp"),
    Registry("index.docker.io"),
    lines="""
    q.io/a                        => [::1]:5000/a:latest, HUB.corp/a:latest, localhost/a:latest, itself
    hub.corp/a                    => itself as HUB.corp
    hub/a                         => [::1]:5000/hub/a:latest, HUB.corp/hub/a:latest, localhost/hub/a:latest, itself
    """,
)


@table.test()
def test_what_registries_are_asked_for(line: Line) -> None:
    assert line.found() == line.expected
