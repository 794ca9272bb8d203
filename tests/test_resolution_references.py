"""What references mean, one line each (explained in tests/support/resolution.py)."""

from __future__ import annotations

from image_cri_shim.decision import Registry
from tests.support.resolution import Line, Table

HUB = Registry("sealos.hub:5000", plain_http=True, priority=1000, offline=True)
S = Registry("s.corp")
table = Table()

table.topic(
    "a name without a host is Docker Hub's",
    S,
    lines="""
    nginx                        => s.corp/library/nginx:latest, itself
    nginx:1.25                   => s.corp/library/nginx:1.25, itself
    library/nginx                => s.corp/library/nginx:latest, itself
    docker.io/nginx              => s.corp/library/nginx:latest, itself
    docker.io/library/nginx:1    => s.corp/library/nginx:1, itself
    index.docker.io/nginx        => s.corp/library/nginx:latest, itself
    index.docker.io/a/b:7        => s.corp/a/b:7, itself
    index.docker.io/docker.io/a  => s.corp/docker.io/a:latest, itself
    bitnami/redis                => s.corp/bitnami/redis:latest, itself
    a/b/c/d:1                    => s.corp/a/b/c/d:1, itself
    library/a/b                  => s.corp/library/a/b:latest, itself
    a                            => s.corp/library/a:latest, itself
    0                            => s.corp/library/0:latest, itself
    hub/nginx                    => s.corp/hub/nginx:latest, itself
    test_com/foo                 => s.corp/test_com/foo:latest, itself
    do__cker/docker              => s.corp/do__cker/docker:latest, itself
    """,
)
table.topic(
    "without a slash, what looks like a host is an image, and a port its tag",
    S,
    lines="""
    docker.io                    => s.corp/library/docker.io:latest, itself
    localhost                    => s.corp/library/localhost:latest, itself
    localhost:5000               => s.corp/library/localhost:5000, itself
    localhost:8080@<sha256>      => s.corp/library/localhost@<sha256>, itself
    test.com:tag                 => s.corp/library/test.com:tag, itself
    foo_bar.com:8080             => s.corp/library/foo_bar.com:8080, itself
    192.168.1.1                  => s.corp/library/192.168.1.1:latest, itself
    192.168.1.1:5000             => s.corp/library/192.168.1.1:5000, itself
    xn--n3h.com                  => s.corp/library/xn--n3h.com:latest, itself
    LOCALHOST                    !! must be lower case
    [2001:db8::1]                !! invalid tag
    [2001:db8::1]:5000           !! invalid tag
    """,
)
table.topic(
    "the host is replaced, whatever it looks like",
    S,
    lines="""
    quay.io/a                    => s.corp/a:latest, itself
    quay.io/a/b:1                => s.corp/a/b:1, itself
    Quay.IO/a/b                  => s.corp/a/b:latest, itself
    registry.k8s.io/pause:3.9    => s.corp/pause:3.9, itself
    Docker.io/nginx              => s.corp/nginx:latest, itself
    docker.io:443/nginx          => s.corp/nginx:latest, itself
    registry-1.docker.io/a/b     => s.corp/a/b:latest, itself
    HUB/nginx                    => s.corp/nginx:latest, itself
    Foo/bar                      => s.corp/bar:latest, itself
    hub:5000/nginx               => s.corp/nginx:latest, itself
    test-com:8080/foo            => s.corp/foo:latest, itself
    nginx:1/2                    => s.corp/2:latest, itself
    localhost/nginx              => s.corp/nginx:latest, itself
    localhost:5000/a/b:c         => s.corp/a/b:c, itself
    127.0.0.1/a                  => s.corp/a:latest, itself
    127.0.0.1:5000/library/a     => s.corp/library/a:latest, itself
    192.168.1.1:750050/repo:5050 => s.corp/repo:5050, itself
    0101.com/a                   => s.corp/a:latest, itself
    sub-dom1.foo.com/bar/baz:t   => s.corp/bar/baz:t, itself
    b.gcr.io/test.example.com/a  => s.corp/test.example.com/a:latest, itself
    xn--n3h.com/a:xn--n3h.com    => s.corp/a:xn--n3h.com, itself
    e.com/xn--7o8h.com/a         => s.corp/xn--7o8h.com/a:latest, itself
    foo_bar.com/a                => s.corp/a:latest, itself
    a.b__c/d:1                   => s.corp/d:1, itself
    [2001:db8::1]/repo           => s.corp/repo:latest, itself
    [2001:db8::1]:5000/repo      => s.corp/repo:latest, itself
    [2001:DB8::1]:5000/a:tag     => s.corp/a:tag, itself
    [2001:db8::]:5000/a@<sha256> => s.corp/a@<sha256>, itself
    [fd00123123123]:75050/a      => s.corp/a:latest, itself
    """,
)
table.topic(
    "what is no host",
    S,
    lines="""
    -docker.io/docker            !! invalid registry '-docker.io'
    docker-.io/docker            !! invalid registry 'docker-.io'
    docker.io-/docker            !! invalid registry 'docker.io-'
    docker./docker               !! invalid registry 'docker.'
    .docker/docker               !! invalid registry '.docker'
    do..cker/docker              !! invalid registry 'do..cker'
    a___b.com/c                  !! invalid registry 'a___b.com'
    foo_bar.com:8080/app         !! invalid registry 'foo_bar.com:8080'
    do__cker:8080/docker         !! invalid registry 'do__cker:8080'
    Foo_bar/app                  !! invalid registry 'Foo_bar'
    foo.com:http/bar             !! invalid registry 'foo.com:http'
    foo.com:/bar                 !! invalid registry 'foo.com:'
    foo.com:80:80/bar            !! invalid registry 'foo.com:80:80'
    fc00::1:5000/debian          !! invalid registry 'fc00::1:5000'
    [fc00::1/debian              !! invalid registry '[fc00::1'
    [fc00::1]75050/a             !! invalid registry '[fc00::1]75050'
    [fc00::1]::75050/a           !! invalid registry '[fc00::1]::75050'
    [fe80::1%eth0]:5000/a        !! invalid registry '[fe80::1%eth0]:5000'
    [fe80::1%@zone]:5000/a       !! invalid digest
    [2001:db8::192.0.2.33]:50/a  !! invalid registry '[2001:db8::192.0.2.33]:50'
    [quay.io]/a                  !! invalid registry '[quay.io]'
    https://github.com/a/b       !! invalid registry 'https:'
    user:password@h.io/a         !! invalid digest
    bücher.example/a             !! invalid registry
    h.example:٥٠/a               !! invalid registry
    """,
)
table.topic(
    "the components of a path",
    S,
    lines="""
    a_b/c__d                     => s.corp/a_b/c__d:latest, itself
    docker---rules/docker        => s.corp/docker---rules/docker:latest, itself
    quay.io/a-b/c--d.e           => s.corp/a-b/c--d.e:latest, itself
    r.io/p--i.m--n.v---s--n      => s.corp/p--i.m--n.v---s--n:latest, itself
    e.com/s_s__u/a               => s.corp/s_s__u/a:latest, itself
    Nginx                        !! must be lower case
    docker/Docker                !! must be lower case
    Foo/FarB                     !! must be lower case
    quay.io/A/b:tag              !! must be lower case
    a/../b                       !! is invalid
    quay.io/../b                 !! is invalid
    quay.io/./b                  !! is invalid
    aa/asdf$$^/aa                !! is invalid
    a^a                          !! is invalid
    a/                           !! is invalid
    /a                           !! is invalid
    a//b                         !! is invalid
    quay.io//a                   !! is invalid
    docker///docker              !! is invalid
    -foo                         !! is invalid
    foo-                         !! is invalid
    foo/-bar                     !! is invalid
    foo/bar-                     !! is invalid
    _foo/bar                     !! is invalid
    foo_/bar                     !! is invalid
    ____/____                    !! is invalid
    a___b                        !! is invalid
    e.com/__underscore/a         !! is invalid
    e.com/.dots/a                !! is invalid
    e.com/dots./a                !! is invalid
    e.com/no..dots/a             !! is invalid
    dock_.er/docker              !! invalid registry 'dock_.er'
    dock-_er/docker              !! is invalid
    a٣                           !! is invalid
    ｎginx                        !! is invalid
    a%2fb                        !! is invalid
    a\\b                          !! is invalid
    a<space>b                    !! is invalid
    <space>nginx                 !! is invalid
    nginx<space>                 !! is invalid
    nginx<newline>               !! is invalid
    nginx<tab>                   !! is invalid
    nginx<nul>                   !! is invalid
    <nothing>                    !! is empty
    <space>                      !! is invalid
    """,
)
table.topic(
    "tags",
    S,
    lines="""
    a:latest                     => s.corp/library/a:latest, itself
    a:_                          => s.corp/library/a:_, itself
    a:Uppercase                  => s.corp/library/a:Uppercase, itself
    a:V1.0-RC.1_x                => s.corp/library/a:V1.0-RC.1_x, itself
    a:0123                       => s.corp/library/a:0123, itself
    a:1.                         => s.corp/library/a:1., itself
    a:1--                        => s.corp/library/a:1--, itself
    a:<t*128>                    => s.corp/library/a:<t*128>, itself
    a:<t*129>                    !! invalid tag
    a:                           !! invalid tag ''
    a:-foo                       !! invalid tag
    a:.foo                       !! invalid tag
    a:b:c                        !! invalid tag
    a:b+c                        !! invalid tag
    a:b~c                        !! invalid tag
    a:é                          !! invalid tag
    a:١                          !! invalid tag
    a:1<newline>                 !! invalid tag
    a:1<space>                   !! invalid tag
    :justtag                     !! is invalid
    quay.io/a:b/c                !! invalid tag
    """,
)
table.topic(
    "digests, and no tag beside them",
    S,
    lines="""
    a@<sha256>                   => s.corp/library/a@<sha256>, itself
    a@<sha384>                   => s.corp/library/a@<sha384>, itself
    a@<sha512>                   => s.corp/library/a@<sha512>, itself
    a:1.25@<sha256>              => s.corp/library/a@<sha256>, itself
    quay.io/a/b:1@<sha512>       => s.corp/a/b@<sha512>, itself
    [::1]:5000/a:1@<sha256>      => s.corp/a@<sha256>, itself
    a@                           !! expected one of sha256, sha384, sha512
    a@sha256                     !! expected one of
    a@sha256:                    !! expected 64 lower-case hex digits
    a@sha256:abc                 !! expected 64 lower-case hex digits
    a@<sha256>0                  !! expected 64 lower-case hex digits
    a@sha256:<hex63>             !! expected 64 lower-case hex digits
    a@sha256:<hex63>g            !! expected 64 lower-case hex digits
    a@sha256:<HEX>               !! expected 64 lower-case hex digits
    a@sha384:<hex>               !! expected 96 lower-case hex digits
    a@sha512:<hex>               !! expected 128 lower-case hex digits
    a@SHA256:<hex>               !! expected one of
    a@md5:<a*32>                 !! expected one of
    a@sha1:<a*40>                !! expected one of
    a@blake3:<hex>               !! expected one of
    a@sha256+b64:<hex>           !! expected one of
    a@<hex>                      !! expected one of
    a@<sha256>:1                 !! expected 64 lower-case hex digits
    a@<sha256>@<sha256>          !! expected 64 lower-case hex digits
    a@<sha256><newline>          !! expected 64 lower-case hex digits
    @<sha256>                    !! is invalid
    a:@<sha256>                  !! invalid tag ''
    Nginx@<sha256>               !! must be lower case
    """,
)
table.topic(
    "image IDs, and names that look like them",
    S,
    lines="""
    <hex>                        !! is an image ID
    <sha256>                     !! is an image ID
    <HEX>                        !! must be lower case
    <hex63>                      => s.corp/library/<hex63>:latest, itself
    <hex>0                       => s.corp/library/<hex>0:latest, itself
    <hex>:1                      => s.corp/library/<hex>:1, itself
    <hex>@<sha256>               => s.corp/library/<hex>@<sha256>, itself
    docker.io/<hex>              => s.corp/library/<hex>:latest, itself
    a/<hex>                      => s.corp/a/<hex>:latest, itself
    3fb2                         => s.corp/library/3fb2:latest, itself
    sha256:abc                   => s.corp/library/sha256:abc, itself
    sha256:<hex63>               => s.corp/library/sha256:<hex63>, itself
    sha512:<hex>                 => s.corp/library/sha512:<hex>, itself
    library/sha256:<hex>         => s.corp/library/sha256:<hex>, itself
    """,
)
table.topic(
    "names that are too long, and those that only one registry has room for",
    HUB,
    S,
    lines="""
    a.io/<a*239>                 => sealos.hub:5000/<a*239>:latest, s.corp/<a*239>:latest, itself
    a.io/<a*240>                 => s.corp/<a*240>:latest, itself
    a.io/<a*248>                 => s.corp/<a*248>:latest, itself
    a.io/<a*249>                 => itself
    a.io/<a*255>                 => itself
    a.io/<a*256>                 !! longer than 255 characters
    <a*231>:<t*128>              => sealos.hub:5000/library/<a*231>:<t*128>, s.corp/library/<a*231>:<t*128>, itself
    <a*247>                      => itself
    <a*248>                      !! longer than 255 characters
    <a/*127>a:not-part-of-it     => itself
    <a/*128>a                    !! longer than 255 characters
    <a*1024>                     !! longer than 255 characters
    <a*1025>                     !! 1025 characters are no image reference
    """,
)


@table.test()
def test_what_a_reference_means(line: Line) -> None:
    assert line.found() == line.expected
