"""From a source to batches: where pictures come from, and how they arrive fast."""
