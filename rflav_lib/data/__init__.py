"""Data: two procedural toy worlds with exact events, and the trackers that read those events back."""
