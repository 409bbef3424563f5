"""The sharded IVF-PQ index in plain FAISS files."""
