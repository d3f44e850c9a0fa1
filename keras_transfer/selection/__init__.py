"""Which backbone and which layers: scores and the advice made from them."""
