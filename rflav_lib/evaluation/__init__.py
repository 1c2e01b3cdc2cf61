"""The paper's evaluation protocol, in the pieces that `rflav_lib.evaluate` puts together."""
