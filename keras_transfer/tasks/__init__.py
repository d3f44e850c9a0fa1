"""What is asked of the features: one module per task with its head, loss and metrics."""
