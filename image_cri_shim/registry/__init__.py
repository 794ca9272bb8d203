"""The registry client: look-ups over the OCI distribution API, on Twisted."""
