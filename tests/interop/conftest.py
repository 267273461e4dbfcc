"""Fixtures of the tests with real clients and servers."""

from interop.hosts import hosts

__all__ = ["hosts"]
