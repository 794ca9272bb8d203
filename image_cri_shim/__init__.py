"""A CRI proxy that pulls images from the operator's registries that have them."""

from __future__ import annotations

__version__ = "0.1.0"
