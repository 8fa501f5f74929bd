# SPDX-License-Identifier: Apache-2.0
"""Accuracy of futures: ``training evaluate``, and the same for mixtures."""
