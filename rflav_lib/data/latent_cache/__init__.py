"""The parts of `rflav_lib.data.latents`: where clips come from, how they are encoded, written and described."""
