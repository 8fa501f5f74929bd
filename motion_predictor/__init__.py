"""Where the people beside a robot are about to be: one-step generative motion prediction."""
