"""From a trained model to files, and the proof that they say the same."""
