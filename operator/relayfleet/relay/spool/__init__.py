"""Where accepted mail rests until it is delivered: a replicated queue behind one small interface."""
