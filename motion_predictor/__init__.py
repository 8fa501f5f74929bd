"""Where the people beside a robot are about to be: one-step generative motion prediction."""

import sys

if sys.argv[:1] == ['-m'] and f'{__name__}.node' in sys.orig_argv:
    # The node is about to import PyTorch, and may be asked to end meanwhile.
    from motion_predictor.signals import leave_at_once_when_asked

    leave_at_once_when_asked()
