"""Stages: which weights learn, the frozen part once, checkpoints and gates."""
