# SPDX-License-Identifier: Apache-2.0
"""The exceptions of motion_predictor that a caller may catch."""


class MotionPredictorError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ConfigError(MotionPredictorError, ValueError):
    """A setting has a value that cannot work."""


class ShapeError(MotionPredictorError, ValueError):
    """An array has the wrong shape."""


class SkeletonError(MotionPredictorError, ValueError):
    """A skeleton or joint layout is unknown or inconsistent."""


class MessageError(MotionPredictorError, ValueError):
    """A message does not have the form that the configured input expects."""


class RecordingError(MotionPredictorError, ValueError):
    """A recording of motion cannot be read or does not hold the requested data."""


class WeightsError(MotionPredictorError):
    """A weights file is missing, damaged, or not of this format."""


class StorageError(MotionPredictorError):
    """A file or folder cannot be written, or another process is using it."""
