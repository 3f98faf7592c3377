"""tune_kd: does distillation help here, with which settings, and how sure are you?"""

__version__ = "0.1.0"
