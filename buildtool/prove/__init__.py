"""Proof that a wheel is what it says: bytes → facts → findings, and a trial import in a fresh environment."""
