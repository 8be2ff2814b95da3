"""The parts of a question: its options, its prompt and its picture."""
