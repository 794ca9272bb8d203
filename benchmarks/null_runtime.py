"""A container runtime that does nothing, as fast as it can: what is measured is what is before it.

It has every image that it is asked for and pulls every image in no time. It speaks just enough
HTTP/2 for clients that send a request's headers in one frame without padding, as those here do.

Run in a process of its own: ``python -m benchmarks.null_runtime SOCKET IMAGES EVENTS``.
"""

from __future__ import annotations

import selectors
import socket
import sys
from pathlib import Path

import hpack

from benchmarks import frames
from image_cri_shim.cri._generated import cri_pb2

_PATH = b":path"
# As runtimes do: the first answer of a connection fills the client's table, the others refer to it.
# 0x88 is ":status: 200", and 31 "content-type".
_FIRST_HEADERS = b"\x88" + frames.literal(31, b"application/grpc", indexed=True)
_FIRST_TRAILERS = frames.literal(b"grpc-status", b"0", indexed=True) + frames.literal(
    b"grpc-message", b"", indexed=True
)
# The dynamic table begins at 62, newest first.
_HEADERS, _TRAILERS = b"\x88\xc0", b"\xbf\xbe"
# Until the table holds all of that.
_PLAIN_HEADERS = b"\x88" + frames.literal(31, b"application/grpc", indexed=False)
_UNIMPLEMENTED = _PLAIN_HEADERS + frames.literal(b"grpc-status", b"12", indexed=False)


def main() -> None:
    """Serve until killed."""
    path, images, events = sys.argv[1:]
    serve(path, answers(int(images), int(events)))


def answers(images: int, events: int) -> dict[bytes, list[bytes]]:
    """Return the messages with which each method is answered.

    :param images: how many ListImages lists.
    :param events: how many GetContainerEvents sends before it ends.
    """
    listed = cri_pb2.ListImagesResponse(images=[image(number) for number in range(images)])
    version = cri_pb2.VersionResponse(
        version="0.1.0",
        runtime_name="null",
        runtime_version="1.0.0",
        runtime_api_version="v1",
    )
    return {
        b"ImageStatus": [cri_pb2.ImageStatusResponse(image=image(0)).SerializeToString()],
        b"ListImages": [listed.SerializeToString()],
        b"Version": [version.SerializeToString()],
        b"PullImage": [cri_pb2.PullImageResponse(image_ref=image(0).id).SerializeToString()],
        b"GetContainerEvents": [event(number) for number in range(events)],
    }


def image(number: int) -> cri_pb2.Image:
    """Return an image as large as they usually are in answers."""
    digest = f"sha256:{number:064x}"
    name = f"registry.test/library/image-{number}"
    return cri_pb2.Image(
        id=digest, repo_tags=[f"{name}:1.25"], repo_digests=[f"{name}@{digest}"], size=10**8
    )


def event(number: int) -> bytes:
    """Return a ContainerEventResponse: field 1 is the container, 2 the type, 3 the time."""
    container = f"{number:064x}".encode()
    return b"\x0a%c%b\x10\x01\x18%c" % (len(container), container, 1 + number % 127)


def serve(path: str, messages: dict[bytes, list[bytes]]) -> None:
    """Serve on a unix socket for ever, one thing after the other."""
    wire = {name: [frames.message(one) for one in each] for name, each in messages.items()}
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(128)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    client = listener.accept()[0]
                    selector.register(client, selectors.EVENT_READ, Client(client, wire))
                elif not key.data.turn():
                    selector.unregister(key.fileobj)
                    key.data.close()


class Client:
    """One client's connection.

    :param messages: what each method is answered with, prefixes included.
    """

    def __init__(self, connection: socket.socket, messages: dict[bytes, list[bytes]]) -> None:
        self._socket = connection
        self._messages = messages
        self._splitter = frames.Splitter()
        self._decoder = hpack.Decoder()
        self._preface = len(frames.PREFACE)
        self._methods: dict[int, bytes] = {}
        self._window = 65535
        self._initial = 65535
        self._windows: dict[int, int] = {}
        self._waiting: dict[int, list[bytes]] = {}
        self._begun = self._answered = False
        self._out = [
            frames.settings(),
            frames.window_update(0, frames.LARGEST_WINDOW - 65535),
        ]

    def close(self) -> None:
        """Forget the connection."""
        self._socket.close()

    def turn(self) -> bool:
        """Read, answer all that is complete in one write; tell whether the client is still there.

        A client that does not read holds up everybody: none of those here does.
        """
        try:
            data = self._socket.recv(1 << 18)
            if self._preface:
                cut, data = data[: self._preface], data[self._preface :]
                self._preface -= len(cut)
            for kind, flags, stream, payload in self._splitter.split(data):
                self._take(kind, flags, stream, payload)
            if self._waiting:
                self._send_waiting()
            if self._out:
                self._socket.sendall(b"".join(self._out))
                self._out.clear()
        except ConnectionError:
            return False
        return bool(data) or bool(self._preface)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            headers = self._decoder.decode(payload, raw=True)
            path = next(value for name, value in headers if name == _PATH)
            self._methods[stream] = path.rpartition(b"/")[2]
        elif kind == frames.WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == frames.RST_STREAM:
            self._methods.pop(stream, None)
            self._windows.pop(stream, None)
            self._waiting.pop(stream, None)
        elif kind in (frames.SETTINGS, frames.PING) and not flags & frames.ACK:
            self._acknowledge(kind, payload)
        if flags & frames.END_STREAM and kind in (frames.DATA, frames.HEADERS):
            self._answer(stream, self._methods.pop(stream, b""))

    def _widen(self, stream: int, size: int) -> None:
        if stream == 0:
            self._window += size
        elif stream in self._windows:
            self._windows[stream] += size

    def _acknowledge(self, kind: int, payload: bytes) -> None:
        if kind == frames.PING:
            self._out.append(frames.frame(kind, frames.ACK, 0, payload))
            return
        for place in range(0, len(payload), 6):
            if int.from_bytes(payload[place : place + 2], "big") == frames.INITIAL_WINDOW_SIZE:
                self._initial = int.from_bytes(payload[place + 2 : place + 6], "big")
        self._out.append(frames.frame(kind, frames.ACK, 0))

    def _answer(self, stream: int, method: bytes) -> None:
        messages = self._messages.get(method)
        if messages is None:
            flags = frames.END_HEADERS | frames.END_STREAM
            self._out.append(frames.frame(frames.HEADERS, flags, stream, _UNIMPLEMENTED))
            return
        first = _PLAIN_HEADERS if self._begun else _FIRST_HEADERS
        block = _HEADERS if self._answered else first
        self._begun = True
        self._out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block))
        self._windows[stream] = self._initial
        self._waiting[stream] = [
            one[place : place + frames.LARGEST_PAYLOAD]
            for one in messages
            for place in range(0, len(one), frames.LARGEST_PAYLOAD)
        ]

    def _send_waiting(self) -> None:
        """Send what the windows allow; an answer that is complete gets its trailers."""
        for stream, chunks in tuple(self._waiting.items()):
            sent, window = 0, self._windows[stream]
            for chunk in chunks:
                size = len(chunk)
                if size > window or size > self._window:
                    break
                window -= size
                self._window -= size
                sent += 1
                self._out.append(frames.frame(frames.DATA, 0, stream, chunk))
            self._windows[stream] = window
            del chunks[:sent]
            if not chunks:
                del self._waiting[stream], self._windows[stream]
                self._out.append(self._trailers(stream))

    def _trailers(self, stream: int) -> bytes:
        block = _TRAILERS if self._answered else _FIRST_TRAILERS
        self._answered = True
        flags = frames.END_HEADERS | frames.END_STREAM
        return frames.frame(frames.HEADERS, flags, stream, block)


if __name__ == "__main__":
    main()
