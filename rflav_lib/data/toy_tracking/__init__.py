"""How the trackers work: `seeing` reads pixels and `hearing` mel, `fits` times a sampled motion, `classing` names the
class, `counting` counts objects, `agreeing` sets pitch beside picture, `tempo` reads dances and `hiding` pillars;
`tally` adds up.
"""
