# SPDX-License-Identifier: Apache-2.0
"""The documentation site, its plots and generated tables."""
