"""What rules make of references, one line each (explained in tests/support/resolution.py).

The other parts of the table are in test_resolution_references.py and test_resolution_registries.py.
"""

from __future__ import annotations

from image_cri_shim.decision import Registry
from tests.support.resolution import Line, Table, rule
from tests.test_resolution_references import table as references
from tests.test_resolution_registries import table as registries

HUB = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
S = Registry("s.corp")
T = Registry("t.corp")
HARBOR = Registry("harbor.corp", priority=600)
PROXY = Registry("harbor.corp", prefix="proxy")
KEEPS = Registry("keeps.corp", keep_host=True)
DOCKER = Registry("docker.io")
table = Table()

table.topic(
    "a rule about a host",
    HUB,
    S,
    rule("quay.io", registries="s.corp"),
    rule("[2001:DB8::1]:5000 localhost:5000", registries="s.corp"),
    lines="""
    quay.io/a                     => s.corp/a:latest, itself | rule 1 (quay.io)
    QUAY.io/a/b@<sha256>          => s.corp/a/b@<sha256>, itself | rule 1 (quay.io)
    quay.io:443/a                 => s.corp/a:latest, itself | rule 1 (quay.io)
    quay.io:444/a                 => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    cdn.quay.io/a                 => sealos.hub:5000/a:latest, s.corp/a:latest, itself
    quay.io                       => sealos.hub:5000/library/quay.io:latest, s.corp/library/quay.io:latest, itself
    a/quay.io/b                   => sealos.hub:5000/a/quay.io/b:latest, s.corp/a/quay.io/b:latest, itself
    [2001:db8::1]:5000/a          => s.corp/a:latest, itself | rule 2 ([2001:DB8::1]:5000, localhost:5000)
    localhost:5000/a              => s.corp/a:latest, itself | rule 2 ([2001:DB8::1]:5000, localhost:5000)
    localhost:5000                => sealos.hub:5000/library/localhost:5000, s.corp/library/localhost:5000, itself
    """,
)
table.topic(
    "a rule about a path",
    S,
    rule("quay.io/team", registries=""),
    rule("docker.io/nginx", registries=""),
    rule("index.docker.io/bitnami/*", registries=""),
    rule("docker.io/redis*", registries=""),
    lines="""
    quay.io/team                  => itself | rule 1 (quay.io/team)
    quay.io/team/a/b:1            => itself | rule 1 (quay.io/team)
    quay.io/teams/a               => s.corp/teams/a:latest, itself
    quay.io/x/team                => s.corp/x/team:latest, itself
    nginx                         => itself | rule 2 (docker.io/nginx)
    docker.io/library/nginx:1     => itself | rule 2 (docker.io/nginx)
    nginx/agent                   => itself | rule 2 (docker.io/nginx)
    nginxinc/nginx                => s.corp/nginxinc/nginx:latest, itself
    quay.io/library/nginx         => s.corp/library/nginx:latest, itself
    bitnami/a                     => itself | rule 3 (index.docker.io/bitnami/*)
    bitnami                       => s.corp/library/bitnami:latest, itself
    redis                         => itself | rule 4 (docker.io/redis*)
    redis-stack/a                 => itself | rule 4 (docker.io/redis*)
    a/redis                       => s.corp/a/redis:latest, itself
    """,
)
table.topic(
    "a rule about many hosts, or several patterns",
    S,
    rule("*.corp.test */secret", registries=""),
    rule("*.corp:*", registries=""),
    lines="""
    a.corp.test/x                 => itself | rule 1 (*.corp.test, */secret)
    A.B.Corp.Test/x               => itself | rule 1 (*.corp.test, */secret)
    quay.io/secret/x              => itself | rule 1 (*.corp.test, */secret)
    secret                        => itself | rule 1 (*.corp.test, */secret)
    corp.test/x                   => s.corp/x:latest, itself
    a.corp.test.evil.example/x    => s.corp/x:latest, itself
    quay.io/a.corp.test/x         => s.corp/a.corp.test/x:latest, itself
    quay.io/a/secret              => s.corp/a/secret:latest, itself
    a.corp:80/x                   => itself | rule 2 (*.corp:*)
    a.corp/x                      => s.corp/x:latest, itself
    """,
)
table.topic(
    "a rule about tags is about no digest",
    S,
    rule("quay.io", tags="latest v1.*", registries=""),
    rule("*", tags="*-dev", registries=""),
    lines="""
    quay.io/a                     => itself | rule 1 (quay.io)
    quay.io/a:latest              => itself | rule 1 (quay.io)
    quay.io/a:v1.2                => itself | rule 1 (quay.io)
    quay.io/a:v1                  => s.corp/a:v1, itself
    quay.io/a:LATEST              => s.corp/a:LATEST, itself
    quay.io/a@<sha256>            => s.corp/a@<sha256>, itself
    quay.io/a:latest@<sha256>     => s.corp/a@<sha256>, itself
    quay.io/a:1-dev               => itself | rule 2 (*)
    a:1-dev                       => itself | rule 2 (*)
    a:1-dev@<sha256>              => s.corp/library/a@<sha256>, itself
    """,
)
table.topic(
    "the rule's registries in the rule's order, each once; none; all",
    HUB,
    S,
    PROXY,
    rule("one.io", registries="s.corp sealos.hub:5000"),
    rule("two.io", registries="HARBOR.corp/proxy s.corp harbor.corp/proxy"),
    rule("none.io", registries=""),
    rule("all.io"),
    lines="""
    one.io/a                      => s.corp/a:latest, sealos.hub:5000/a:latest, itself | rule 1 (one.io)
    two.io/a                      => harbor.corp/proxy/a:latest, s.corp/a:latest, itself | rule 2 (two.io)
    none.io/a                     => itself | rule 3 (none.io)
    all.io/a                      => sealos.hub:5000/a:latest, harbor.corp/proxy/a:latest, s.corp/a:latest, itself | rule 4 (all.io)
    """,
)
table.topic(
    "what is excluded is left alone",
    S,
    rule("*", exclude="*:latest quay.io/mine/* docker.io/nginx:1.* localhost:5000 [::1]:5000/x:1"),
    lines="""
    a                             => itself | rule 1 (*) | excluded *:latest
    quay.io/a:latest              => itself | rule 1 (*) | excluded *:latest
    a:1                           => s.corp/library/a:1, itself | rule 1 (*)
    a@<sha256>                    => s.corp/library/a@<sha256>, itself | rule 1 (*)
    a:latest@<sha256>             => s.corp/library/a@<sha256>, itself | rule 1 (*)
    quay.io/mine/a@<sha256>       => itself | rule 1 (*) | excluded quay.io/mine/*
    quay.io/mine/a:1              => itself | rule 1 (*) | excluded quay.io/mine/*
    quay.io/mine:1                => s.corp/mine:1, itself | rule 1 (*)
    nginx:1.25                    => itself | rule 1 (*) | excluded docker.io/nginx:1.*
    nginx:2                       => s.corp/library/nginx:2, itself | rule 1 (*)
    nginx:1.25@<sha256>           => s.corp/library/nginx@<sha256>, itself | rule 1 (*)
    localhost:5000/a:1            => itself | rule 1 (*) | excluded localhost:5000
    localhost/a:5000              => s.corp/a:5000, itself | rule 1 (*)
    [::1]:5000/x:1                => itself | rule 1 (*) | excluded [::1]:5000/x:1
    [::1]:5000/x:2                => s.corp/x:2, itself | rule 1 (*)
    """,
)
table.topic(
    "another path",
    S,
    PROXY,
    KEEPS,
    rule(
        "*",
        rewrite=(
            ("registry.k8s.io/*", "google_containers"),
            ("quay.io/team/app", "apps/one"),
            ("quay.io/team", "x"),
            ("quay.io/gone/*", ""),
            ("*.old", "old"),
            ("docker.io/nginx", "web"),
        ),
        registries="s.corp harbor.corp/proxy keeps.corp",
    ),
    lines="""
    registry.k8s.io/pause:3.9     => s.corp/google_containers/pause:3.9, harbor.corp/proxy/google_containers/pause:3.9, keeps.corp/google_containers/pause:3.9, itself | rule 1 (*)
    registry.k8s.io/a/b@<sha256>  => s.corp/google_containers/a/b@<sha256>, harbor.corp/proxy/google_containers/a/b@<sha256>, keeps.corp/google_containers/a/b@<sha256>, itself | rule 1 (*)
    quay.io/team/app:1            => s.corp/apps/one:1, harbor.corp/proxy/apps/one:1, keeps.corp/apps/one:1, itself | rule 1 (*)
    quay.io/team/app/y            => s.corp/apps/one/y:latest, harbor.corp/proxy/apps/one/y:latest, keeps.corp/apps/one/y:latest, itself | rule 1 (*)
    quay.io/team/apps             => s.corp/x/apps:latest, harbor.corp/proxy/x/apps:latest, keeps.corp/x/apps:latest, itself | rule 1 (*)
    quay.io/teams                 => s.corp/teams:latest, harbor.corp/proxy/teams:latest, keeps.corp/quay.io/teams:latest, itself | rule 1 (*)
    quay.io/gone/a/b              => s.corp/a/b:latest, harbor.corp/proxy/a/b:latest, keeps.corp/a/b:latest, itself | rule 1 (*)
    a.old/b                       => s.corp/old/b:latest, harbor.corp/proxy/old/b:latest, keeps.corp/old/b:latest, itself | rule 1 (*)
    nginx:1                       => s.corp/web:1, harbor.corp/proxy/web:1, keeps.corp/web:1, itself | rule 1 (*)
    redis                         => s.corp/library/redis:latest, harbor.corp/proxy/library/redis:latest, keeps.corp/docker.io/library/redis:latest, itself | rule 1 (*)
    registry.k8s.io/<a*230>       => s.corp/google_containers/<a*230>:latest, itself | rule 1 (*)
    """,
)
table.topic(
    "nothing is left of a path",
    S,
    PROXY,
    rule("quay.io", rewrite=(("quay.io/a", ""),)),
    lines="""
    quay.io/a                     => itself | rule 1 (quay.io)
    quay.io/a/b                   => harbor.corp/proxy/b:latest, s.corp/b:latest, itself | rule 1 (quay.io)
    """,
)
table.topic(
    "strict: the origin is not allowed",
    HUB,
    Registry("digest.corp", trust_for="digest"),
    rule("quay.io", strict=True),
    rule("strict.io", registries="digest.corp", strict=True),
    rule("none.io", registries="", strict=True),
    rule("excludes.io", exclude="*:latest", strict=True),
    rule("sealos.hub:5000/closed", strict=True),
    lines="""
    quay.io/a                     => sealos.hub:5000/a:latest | rule 1 (quay.io)
    quay.io/a:1@<sha256>          => sealos.hub:5000/a@<sha256>, digest.corp/a@<sha256> | rule 1 (quay.io)
    strict.io/a                   => <nothing> | rule 2 (strict.io)
    strict.io/a@<sha256>          => digest.corp/a@<sha256> | rule 2 (strict.io)
    none.io/a                     => <nothing> | rule 3 (none.io)
    excludes.io/a                 => <nothing> | rule 4 (excludes.io) | excluded *:latest
    excludes.io/a:1               => sealos.hub:5000/a:1 | rule 4 (excludes.io)
    sealos.hub:5000/closed/a      => <nothing> | rule 5 (sealos.hub:5000/closed)
    sealos.hub:5000/open/a        => itself as sealos.hub:5000
    docker.io/a                   => sealos.hub:5000/library/a:latest, itself
    """,
)
table.topic(
    "strict about everything, but not about the configured registries themselves",
    HUB,
    DOCKER,
    rule("*", strict=True),
    lines="""
    nginx                         => sealos.hub:5000/library/nginx:latest | rule 1 (*)
    foo_bar.com/a                 => sealos.hub:5000/a:latest | rule 1 (*)
    quay.io:0443/a                => sealos.hub:5000/a:latest | rule 1 (*)
    [::1]/a                       => sealos.hub:5000/a:latest | rule 1 (*)
    a.io/<a*250>                  => <nothing> | rule 1 (*)
    sealos.hub:5000/a             => itself as sealos.hub:5000
    """,
)
table.topic(
    "a configured registry's own names are for rules that name its host",
    HUB,
    HARBOR,
    PROXY,
    rule("*.corp */team", registries=""),
    rule("harbor.corp/proxy", registries="sealos.hub:5000 harbor.corp/proxy harbor.corp"),
    rule("harbor.corp/team"),
    rule("HARBOR.corp/old", rewrite=(("harbor.corp/old/*", "new"),)),
    rule("*", registries=""),
    lines="""
    other.corp/a                  => itself | rule 1 (*.corp, */team)
    harbor.corp/a                 => itself as harbor.corp
    harbor.corp/proxy/a           => sealos.hub:5000/proxy/a:latest, itself as harbor.corp/proxy | rule 2 (harbor.corp/proxy)
    harbor.corp/team/a            => sealos.hub:5000/team/a:latest, itself as harbor.corp | rule 3 (harbor.corp/team)
    harbor.corp/old/a             => sealos.hub:5000/new/a:latest, harbor.corp/new/a:latest, harbor.corp/proxy/new/a:latest, itself as harbor.corp | rule 4 (HARBOR.corp/old)
    sealos.hub:5000/team          => itself as sealos.hub:5000
    quay.io/team/a                => itself | rule 1 (*.corp, */team)
    quay.io/a                     => itself | rule 5 (*)
    """,
)
table.topic(
    "the origin by another spelling is no candidate",
    HUB,
    Registry("Quay.IO"),
    Registry("keeps.corp", keep_host=True),
    rule("quay.io/same", rewrite=(("quay.io/same/*", "same"),), strict=True),
    rule("quay.io", strict=True),
    rule("keeps.corp", registries="keeps.corp sealos.hub:5000"),
    lines="""
    quay.io/same/a                => sealos.hub:5000/same/a:latest, keeps.corp/same/a:latest | rule 1 (quay.io/same)
    QUAY.IO/same/a:1              => sealos.hub:5000/same/a:1, keeps.corp/same/a:1 | rule 1 (quay.io/same)
    quay.io/a                     => sealos.hub:5000/a:latest, keeps.corp/quay.io/a:latest | rule 2 (quay.io)
    QUAY.io/a@<sha256>            => sealos.hub:5000/a@<sha256>, keeps.corp/quay.io/a@<sha256> | rule 2 (quay.io)
    keeps.corp/a                  => sealos.hub:5000/a:latest, itself as keeps.corp | rule 3 (keeps.corp)
    """,
)
table.topic(
    "a rule can name Docker Hub",
    DOCKER,
    Registry("docker.io", prefix="mirrored"),
    S,
    rule("quay.io", registries="docker.io s.corp"),
    rule("docker.io", registries="docker.io docker.io/mirrored s.corp", strict=True),
    rule("gcr.io"),
    lines="""
    quay.io/a/b                   => docker.io/a/b:latest, s.corp/a/b:latest, itself | rule 1 (quay.io)
    quay.io/a                     => s.corp/a:latest, itself | rule 1 (quay.io)
    a/b                           => docker.io/mirrored/a/b:latest, s.corp/a/b:latest | rule 2 (docker.io)
    mirrored/a                    => s.corp/mirrored/a:latest | rule 2 (docker.io)
    gcr.io/a/b                    => s.corp/a/b:latest, itself | rule 3 (gcr.io)
    """,
)
table.topic(
    "the first rule that matches is the one",
    S,
    T,
    rule("quay.io/a", registries="t.corp"),
    rule("quay.io", tags="1", registries=""),
    rule("*", tags="2", strict=True),
    rule("quay.io", registries="s.corp", exclude="quay.io/a quay.io/x"),
    lines="""
    quay.io/a:1                   => t.corp/a:1, itself | rule 1 (quay.io/a)
    quay.io/a:2                   => t.corp/a:2, itself | rule 1 (quay.io/a)
    quay.io/b:1                   => itself | rule 2 (quay.io)
    quay.io/b:2                   => s.corp/b:2, t.corp/b:2 | rule 3 (*)
    quay.io/b:3                   => s.corp/b:3, itself | rule 4 (quay.io)
    quay.io/x:3                   => itself | rule 4 (quay.io) | excluded quay.io/x
    b:2                           => s.corp/library/b:2, t.corp/library/b:2 | rule 3 (*)
    b:3                           => s.corp/library/b:3, t.corp/library/b:3, itself
    """,
)


@table.test()
def test_what_rules_make_of_a_reference(line: Line) -> None:
    assert line.found() == line.expected


def test_the_table_is_as_long_as_it_was_and_no_line_is_there_twice() -> None:
    assert len(references.lines) >= 200
    assert len(registries.lines) >= 50
    assert len(table.lines) >= 110
    lines = [str(line) for part in (references, registries, table) for line in part.lines]
    assert len(set(lines)) == len(lines)
