"""Datasets and weights from where they lie to a folder that this library reads: fetch, check, prepare."""
