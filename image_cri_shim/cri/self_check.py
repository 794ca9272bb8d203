"""A call of the shim through its own socket: whether it accepts, speaks and answers."""

from __future__ import annotations

import asyncio

from image_cri_shim.cri._generated import health_pb2
from image_cri_shim.cri.connection import Connection
from image_cri_shim.cri.health import SELF
from image_cri_shim.cri.status import frame
from image_cri_shim.cri.stream import StreamLost

_QUESTION = frame(health_pb2.HealthCheckRequest(service=SELF).SerializeToString())


async def why_silent(path: str, patience: float) -> str:
    """Ask the shim for its own health, which does not depend on the runtime's.

    :param path: its socket.
    :param patience: seconds that it gets.
    :returns: why it did not answer; empty if it did.
    """
    connection = Connection(path, lambda _: None)
    try:
        async with asyncio.timeout(patience):
            await connection.connect()
            return "" if await connection.alive(_QUESTION) else f"{path}: no proper answer"
    except TimeoutError:
        return f"{path}: no answer within {patience:g} s"
    except PermissionError:
        # It was given to somebody else, and the system does not let even the shim in.
        return ""
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    except StreamLost as error:
        return f"{path}: {error}"
    finally:
        connection.close()
