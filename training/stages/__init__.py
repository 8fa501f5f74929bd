"""What is trained: teacher, one-step students, the mixture; and fine-tuning."""
