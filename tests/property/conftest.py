"""No deadline: a machine shared with other work may take its time over one example."""

from hypothesis import settings

settings.register_profile("ladder", deadline=None, max_examples=200)
settings.load_profile("ladder")
