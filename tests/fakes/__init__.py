"""Test doubles: a Glance in memory, and a wrapper that counts calls."""
