"""Properties are about what is decided, not how fast: a busy machine must not fail them."""

from hypothesis import settings

settings.register_profile("decide", deadline=None)
settings.load_profile("decide")
