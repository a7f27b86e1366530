"""Speech: text by a synthesizer, and numbers, times and amounts of parts that were made once. ``docs/speech.md``."""
