"""Contract suites: what every implementation of a Protocol has to pass."""
