"""The exit statuses of the commands; each says what its own mean."""

from __future__ import annotations

# What was asked for is there, or in order.
FOUND = 0
# It is not.
FAILED = 1
# argparse's, for a wrong command line; and for other input that nothing can be done with.
UNUSABLE = 2
# Somebody does not answer as they should.
UNREACHABLE = 3
