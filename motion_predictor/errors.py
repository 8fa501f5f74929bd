"""The exceptions a caller of motion_predictor may catch."""


class MotionPredictorError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(MotionPredictorError, ValueError):
    """A setting has a value that cannot work."""


class ShapeError(MotionPredictorError, ValueError):
    """An array has the wrong shape."""


class SkeletonError(MotionPredictorError, ValueError):
    """A skeleton or joint layout is unknown or inconsistent."""


class MessageError(MotionPredictorError, ValueError):
    """A message does not have the form that the configured input expects."""


class RecordingError(MotionPredictorError, ValueError):
    """A recording of motion cannot be read or does not hold what was asked for."""


class WeightsError(MotionPredictorError):
    """A weights file is missing, damaged, or not of this format."""


class StorageError(MotionPredictorError):
    """A place cannot be written to, or another process is using it."""
