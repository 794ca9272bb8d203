"""The admin interface: what an operator is told and may do, over HTTP."""
