"""The scenes of the toy worlds: `canvas` draws, `synth` sounds, `scene` keeps time; `landscape`, `dance` and
`pillar` are shown.
"""
