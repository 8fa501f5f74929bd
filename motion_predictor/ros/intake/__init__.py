# SPDX-License-Identifier: Apache-2.0
"""Input of the node: topics, waiting messages and transforms; messages become observations."""
