"""Programs that measure, and print what they found; nothing is asserted here."""
