"""Who is who: bodies that are followed, and whose each sighting is, whatever its id."""
