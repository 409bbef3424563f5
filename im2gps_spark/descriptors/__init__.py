"""Pictures as vectors: the classic descriptors of IM2GPS and learned ones, under one protocol."""
