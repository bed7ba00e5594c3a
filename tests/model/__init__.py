"""A model of the store's protocols that plays their interleavings."""
