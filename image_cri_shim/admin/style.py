"""The page's style sheet, and the policy that lets a browser use it and nothing else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

# What stands in it: neither <, > nor &, which would be written otherwise in the page.
STYLE = Path(__file__).with_name("style.css").read_text(encoding="ascii")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode("ascii")).digest()).decode("ascii")

# Nothing is run, loaded, sent or framed; the one image is the sign in the browser's tab.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode("ascii")
