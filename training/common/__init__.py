# SPDX-License-Identifier: Apache-2.0
"""Parts that all verbs use: stopping, locks, processes, logs and the origin of results."""
