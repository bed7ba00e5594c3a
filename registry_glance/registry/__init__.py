"""The registry's domain: names, digests, manifests and upload sessions. No I/O happens here."""
