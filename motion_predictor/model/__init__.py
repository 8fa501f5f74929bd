# SPDX-License-Identifier: Apache-2.0
"""The models: settings, transforms, networks and weights files; nothing about tracked people."""
