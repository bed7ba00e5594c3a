"""How a registry's content lies in Glance, and the protocols that keep its writes right."""
