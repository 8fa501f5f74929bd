# SPDX-License-Identifier: Apache-2.0
"""The stages of the training: teacher, one-step students and the mixture; and fine-tuning."""
