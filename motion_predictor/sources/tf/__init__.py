# SPDX-License-Identifier: Apache-2.0
"""TF: the tree of frames, observations that wait for a transform, and people made of frames."""
