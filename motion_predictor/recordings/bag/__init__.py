# SPDX-License-Identifier: Apache-2.0
"""The content of a rosbag2 recording: files, message types, stamps and people."""
