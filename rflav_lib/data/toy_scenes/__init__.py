"""The scenes of the toy worlds: `canvas` draws, `synth` sounds, `landscape` and `dance` put them on one clock."""
