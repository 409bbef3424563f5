"""From weighted neighbours to a distribution on the sphere and its summary."""
