"""Measuring what was generated. Nothing in here knows about training."""
