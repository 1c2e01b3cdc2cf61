"""How the trackers work: `fits` times a sampled motion, `seeing` reads pixels, `hearing` reads mel,
`classing` names.
"""
