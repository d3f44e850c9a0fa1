"""Pretrained networks: the catalogue, their weights, and how they are cut into blocks."""
