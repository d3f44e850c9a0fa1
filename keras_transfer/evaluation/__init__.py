"""What a trained model is worth: metrics, plots and the report."""
