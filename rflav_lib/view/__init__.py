"""Pictures, explorers and the live curve: for notebooks only, never imported by the rest of the library."""
