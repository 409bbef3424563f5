"""Pages and maps: a photo, its visual neighbours, and where on Earth it may have been taken."""
