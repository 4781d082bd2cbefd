"""Embeddings of every layer for the recordings of a data set."""
