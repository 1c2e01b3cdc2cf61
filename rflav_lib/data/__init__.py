"""Data: toy worlds with exact events and the trackers that read them back; folders of videos; caches of latents."""
