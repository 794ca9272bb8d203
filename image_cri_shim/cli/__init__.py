"""The programs that operators run."""
