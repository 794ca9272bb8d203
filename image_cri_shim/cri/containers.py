"""CreateContainer: clients name its image as they pulled it, the runtime may hold it otherwise."""

from __future__ import annotations

from image_cri_shim.cri._generated import cri_pb2
from image_cri_shim.cri.call import Call
from image_cri_shim.cri.local import held_name
from image_cri_shim.cri.naming import Naming
from image_cri_shim.cri.status import Answer, frame


async def create_container(call: Call, naming: Naming) -> Answer:
    """Answer CreateContainer: with the names under which the runtime holds the images."""
    request = cri_pb2.CreateContainerRequest.FromString(call.payload)
    changed = False
    for spec in (request.config.image, *(mount.image for mount in request.config.mounts)):
        if spec.image:
            held = await held_name(call, naming, spec.image)
            changed = changed or held != spec.image
            spec.image = held
    return await call.unary(frame(request.SerializeToString()) if changed else call.message)
