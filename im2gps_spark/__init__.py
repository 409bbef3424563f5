"""Where on Earth was a photo taken? Posterior maps from millions of geotagged photos, on Spark."""

__version__ = "0.1.0"
