"""Verified wheels to channels, page and release."""
