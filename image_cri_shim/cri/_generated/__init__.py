"""Modules that setup.py generates from protos/."""
