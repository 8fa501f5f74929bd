# SPDX-License-Identifier: Apache-2.0
"""Output of the node: publishers, their messages, and taking messages back."""
