"""Photos before they are pixels and vectors: metadata, keys, reasons, safe decoding."""
