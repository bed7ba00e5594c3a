"""Real OpenStack services on one machine, for trying things out and for the tests.

Each service is a module of its own with a class that writes the service's configuration into a
data directory, starts it, waits until it answers and stops it. ``python -m devcloud`` starts a set
of them and keeps them together.
"""
