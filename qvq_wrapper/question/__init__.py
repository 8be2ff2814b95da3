"""What goes into a question: options, prompt and picture."""
