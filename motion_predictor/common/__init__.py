# SPDX-License-Identifier: Apache-2.0
"""Parts that every room uses: files, whole or not at all; shapes; a thread for slow work."""
