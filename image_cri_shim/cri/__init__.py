"""The CRI proxy: everything that speaks gRPC, on asyncio."""

from __future__ import annotations

# First of all: everything here needs grpclib, which it finds.
import image_cri_shim.private_libraries  # noqa: F401
