"""Many clients that only greet take no descriptors, and no places, from those who work."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from tests.support.cri_client import CRI
from tests.support.daemon import TWISTD
from tests.support.standin_runtime import StandinRuntime
from tests.system.conftest import StartDaemon

# HTTP/2's connection preface and empty SETTINGS (RFC 9113, section 3.4).
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def test_the_kubelets_calls_go_on_when_all_connections_are_taken(
    start_daemon: StartDaemon, connect: Callable[..., CRI], standin: StandinRuntime
) -> None:
    limited = ("sh", "-c", 'ulimit -n 200 && exec "$@"', "sh", *TWISTD, "--nodaemon", "--pidfile=")
    shim = start_daemon(standin.socket, 'address: ""', program=(*limited, "image-cri-shim"))
    kubelet = connect(shim.socket)
    assert kubelet.image_status("nginx:1.25") is None
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(shim.socket)
            client.sendall(GREETING)
            assert client.recv(1)
        # Neither was refused: those that have been idle for longest made room.
        assert shim.lines("are refused") == []
        assert connect(shim.socket).image_status("nginx:1.25") is None
        assert kubelet.image_status("nginx:1.25") is None
        # A new connection to the runtime can still be made.
        standin.kill()
        standin.start()
        assert kubelet.image_status("nginx:1.25") is None
        assert shim.lines("Traceback") == []
