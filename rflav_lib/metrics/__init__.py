"""Measuring what was generated: distances, synchrony, drift, loops, and the small networks that know the toy worlds."""
