"""What the shim costs, measured against the direct call on the same runtime in the same run."""
