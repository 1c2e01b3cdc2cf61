"""What is looked at: pictures, explorers, the live curve and player, the user study. Nothing else depends on it but a
clip's display in a notebook.
"""
