"""The registry over HTTP: the OCI distribution API, Docker's additions, and the v1 search."""
