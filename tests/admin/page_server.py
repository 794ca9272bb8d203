"""Serve the admin interface with a status of the tests' choice, as a process of its own.

``python -m tests.admin.page_server hostile_status`` writes the port that it has taken.
"""

from __future__ import annotations

import sys

from twisted.logger import Logger, textFileLogObserver


def main() -> None:
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    from twisted.internet import reactor  # noqa: TID251 - it has been installed here

    from image_cri_shim.admin.site import make_site
    from tests.admin import documents
    from tests.admin.stage import FakeBackend

    backend = FakeBackend()
    backend.document = getattr(documents, sys.argv[1])
    for name in documents.HOSTILE:
        backend.pull(name)
    log = Logger(namespace="admin", observer=textFileLogObserver(sys.stderr))
    site = make_site(backend, reactor, log, read_only=True, names=("127.0.0.1",))  # type: ignore[arg-type]
    port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
    print(port.getHost().port, flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
