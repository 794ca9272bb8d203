"""Which component of the program a logger of the standard library belongs to."""

from __future__ import annotations

# The part of the program that logs so.
PROGRAM = "image_cri_shim"
CRI = f"{PROGRAM}.cri"

# Modules of the CRI's side that are not about clients and their calls.
_OTHERS = {
    "attempts": "pull",
    "pull": "pull",
    "channel": "runtime",
    "connection": "runtime",
    "connector": "runtime",
    "upstream": "runtime",
}
# The loggers of those, and the component of each.
APART = {f"{CRI}.{module}": component for module, component in _OTHERS.items()}


def component_of(name: str) -> str:
    """Return the component that a logger speaks for; a library's own name stays as it is."""
    if name in APART:
        return APART[name]
    if name == CRI or name.startswith(f"{CRI}."):
        return "cri"
    return "daemon" if name.partition(".")[0] == PROGRAM else name
