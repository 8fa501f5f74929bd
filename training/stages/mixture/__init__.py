# SPDX-License-Identifier: Apache-2.0
"""Components of the mixture's training: its data, its start, its parts and their terms."""
